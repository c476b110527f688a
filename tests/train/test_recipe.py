"""Every switch of the recipe changes what it should and nothing else."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tomlkit
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from smartbin.errors import WeightsError
from tests.train.conftest import FLAGS
from tests.train.tiny import NAME
from train import loop
from train.checkpoint import load_run, load_state
from train.config import Recipe, TrainConfig
from train.loader import epoch_batches, epoch_keys
from train.metrics import Epoch
from train.networks.architectures import architecture_of, split_outputs
from train.networks.freezing import freeze
from train.networks.weights import load_weights
from train.run import main
from train.schedule import rate_factor
from train.set_up import set_up
from train.training import Training

pytestmark = pytest.mark.usefixtures("no_report")
Weights = dict[str, torch.Tensor]
_COUNTER = "num_batches_tracked"


def weights_of(run: Path) -> Weights:
    return load_file(run / "model.safetensors")


def changed(before: Weights, after: Weights) -> set[str]:
    names = {name for name in after if not name.endswith(_COUNTER)}
    return {name for name in names if not torch.equal(before[name], after[name])}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Starting weights of the tiny network, with batch norms that have seen something."""
    torch.manual_seed(5)
    model = architecture_of(NAME).build(3, 0.0, 0.0)
    for _ in range(3):
        model(torch.randn(8, 3, 32, 32) * 2 + 1)
    save_file(model.state_dict(), tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


@pytest.fixture
def set_up_tiny(photos: Path, tmp_path: Path) -> Callable[..., Training]:
    """A factory: the tiny network set up with this recipe, not trained."""

    def make(recipe: Recipe, **more: object) -> Training:
        config = {"data": str(photos), "model": NAME, "weights": "none", "machine": {"workers": 0, "device": "cpu"}}
        return set_up(TrainConfig.model_validate({**config, "recipe": recipe, **more}), tmp_path / "set_up")

    return make


@pytest.mark.parametrize(
    ("name", "count", "trained"),
    [
        ("resnet50", 0, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}),
        ("resnet50", 6, {"layer3", "layer4", "fc"}),
        ("resnet50", 7, {"layer4", "fc"}),
        ("resnet50", 9, {"fc"}),
        ("inception_v3", 15, {"AuxLogits", "Mixed_7a", "Mixed_7b", "Mixed_7c", "fc"}),
    ],
)
def test_freeze_counts_children_as_the_original_did(name: str, count: int, trained: set[str]) -> None:
    architecture = architecture_of(name)
    with torch.device("meta"):
        model = architecture.build(6, 0.0, 0.0)
    assert [child for child, _ in model.named_children()].index("fc") == (9 if name == "resnet50" else 21)
    freeze(model, architecture, Recipe(freeze=count), frozenset())
    assert {entry.split(".")[0] for entry, value in model.named_parameters() if value.requires_grad} == trained


def test_freeze_7_of_resnet50_changes_exactly_the_last_block_and_the_classifier(
    train_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    before = architecture_of("resnet50").build(3, 0.0, 0.0).state_dict()
    save_file(before, tmp_path / "resnet50.safetensors")
    flags = ("--train-size", "32", "--test-size", "32", "--epochs", "1", "--limit", "3", "--ema-decay", "0")
    weights = ("--weights", str(tmp_path / "resnet50.safetensors"), "--freeze-bn", "off")
    run = train_tiny("--model", "resnet50", *weights, "--freeze", "7", *flags)
    expected = {name for name in before if name.startswith(("layer4.", "fc.")) and not name.endswith(_COUNTER)}
    assert changed(before, weights_of(run)) == expected


def test_frozen_statistics_may_follow_the_batches(train_tiny: Callable[..., Path], start: Path) -> None:
    before = load_file(start)
    rest = {"back.0.weight", "back.1.weight", "back.1.bias", "back.1.running_mean", "back.1.running_var"}
    rest |= {"fc.weight", "fc.bias"}
    flags = ("--weights", str(start), "--freeze", "1", "--freeze-bn", "off", "--ema-decay", "0")
    assert changed(before, weights_of(train_tiny(*flags, name="kept"))) == rest
    followed = weights_of(train_tiny(*flags, "--no-frozen-statistics", name="followed"))
    assert changed(before, followed) == rest | {"front.1.running_mean", "front.1.running_var"}


def test_freeze_bn_freezes_loaded_batch_norms_everywhere(train_tiny: Callable[..., Path], start: Path) -> None:
    before = load_file(start)
    frozen = weights_of(train_tiny("--weights", str(start), "--freeze-bn", "on", name="loaded"))
    assert changed(before, frozen) == {"front.0.weight", "back.0.weight", "fc.weight", "fc.bias"}
    fresh = weights_of(train_tiny("--freeze-bn", "on", name="random"))  # nothing was loaded: they have to learn
    assert changed(before, fresh) == set(before) - {name for name in before if name.endswith(_COUNTER)}


@pytest.mark.parametrize(
    ("lacks", "head_start", "freeze_bn", "head_rate"),
    [
        (("fc.",), "probe", "on", 5e-4),
        ((), "small", "on", 5e-4),  # its head was loaded, and stays
        (("fc.", "back.0."), "small", "off", 2e-3),
        (("back.0.",), "small", "off", 5e-4),
        (None, "small", "off", 2e-3),
    ],
)
def test_auto_depends_on_what_the_weights_have(
    set_up_tiny: Callable[..., Training],
    start: Path,
    tmp_path: Path,
    lacks: tuple[str, ...] | None,
    head_start: str,
    freeze_bn: str,
    head_rate: float,
) -> None:
    file = tmp_path / "part.safetensors"
    if lacks is not None:
        save_file({name: value for name, value in load_file(start).items() if not name.startswith(lacks)}, file)
    training = set_up_tiny(Recipe(), weights="none" if lacks is None else str(file))
    recipe = training.config.recipe
    assert (recipe.head_start, recipe.freeze_bn, recipe.head_rate) == (head_start, freeze_bn, head_rate)
    assert training.base_rates[-1] == head_rate
    assert bool(training.frozen.resting) == (freeze_bn == "on")
    asked = tomlkit.parse((training.path / "config.toml").read_text(encoding="utf-8"))["recipe"]
    assert (asked["head_start"], asked["freeze_bn"], asked["head_rate"]) == ("auto", "auto", 0.0)


def test_truth_values_of_earlier_runs_are_read() -> None:
    assert [Recipe.model_validate({"freeze_bn": value}).freeze_bn for value in (True, False)] == ["on", "off"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--freeze", "1", "--freeze-until", "back"), "freeze and freeze_until say the same in two ways"),
        (("--freeze", "4"), "less than its 4 children: front, back, dropout, fc"),
        (("--optimizer", "lion"), "key recipe.optimizer"),
        (("--accumulate", "0"), "key recipe.accumulate"),
    ],
)
def test_wrong_recipe_is_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], expected: str
) -> None:
    assert main(["--data", str(photos), "--out", str(tmp_path / "out"), *FLAGS, *flags]) == 2
    assert expected in capsys.readouterr().err


def test_average_off_delivers_the_plain_weights(train_tiny: Callable[..., Path]) -> None:
    plain, averaged = train_tiny("--ema-decay", "0", name="plain"), train_tiny("--ema-decay", "0.99", name="averaged")
    state = load_state(plain)
    assert state["ema"] == {}
    assert changed(state["model"], weights_of(plain)) == set()
    assert changed(load_state(averaged)["model"], weights_of(averaged))
    assert changed(state["model"], load_state(averaged)["model"]) == set()  # it watches, and changes nothing
    history = load_run(plain).metrics.history
    assert all(record.raw_val_loss == record.val_loss for record in history)
    delivery = load_run(plain).metrics.delivery
    assert delivery is not None
    assert delivery.describe().startswith("The weights are the plain weights after epoch 2 of 2; no epoch was picked")


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_optimizer(set_up_tiny: Callable[..., Training], name: str, kind: type[torch.optim.Optimizer]) -> None:
    training = set_up_tiny(Recipe.model_validate({"optimizer": name, "momentum": 0.8}))
    optimizer = training.optimizer.optimizer  # Fabric's wrapper holds it
    assert type(optimizer) is kind
    if kind is torch.optim.SGD:
        assert all((group["momentum"], group["nesterov"]) == (0.8, True) for group in optimizer.param_groups)


def test_constant_rate_with_and_without_warmup() -> None:
    assert {rate_factor(step, 100, 0, "constant") for step in range(100)} == {1.0}
    warmed = [rate_factor(step, 100, 10, "constant") for step in range(100)]
    assert warmed[:11] == sorted(set(warmed[:11]))
    assert set(warmed[10:]) == {1.0}


def test_schedule_is_what_the_run_follows(train_tiny: Callable[..., Path]) -> None:
    flags = ("--head-rate", "0.003", "--warmup", "0")
    constant = load_run(train_tiny(*flags, "--schedule", "constant", name="constant")).metrics.history
    assert [record.rate for record in constant] == [0.003, 0.003]
    cosine = load_run(train_tiny(*flags, name="cosine")).metrics.history
    assert cosine[1].rate < cosine[0].rate < 0.003


def test_one_rate_for_all_stages(set_up_tiny: Callable[..., Training], start: Path) -> None:
    even = Recipe(stage_decay=1, head_rate=1e-4, backbone_rate=1e-4)
    assert set(set_up_tiny(even, weights=str(start)).base_rates) == {1e-4}
    graded = set_up_tiny(Recipe(stage_decay=0.5), weights=str(start)).base_rates
    assert sorted(set(graded)) == pytest.approx([1.5e-4, 3e-4, 5e-4])


def test_parts_of_a_batch_give_the_same_step(train_tiny: Callable[..., Path], start: Path) -> None:
    """With resting batch norms and without dropout the parts do not see each other anyway."""
    flags = ("--weights", str(start), "--freeze-bn", "on", "--dropout", "0", "--ema-decay", "0", "--epochs", "1")
    whole, parts = train_tiny(*flags, name="whole"), train_tiny(*flags, "--accumulate", "3", name="parts")
    ours, theirs = weights_of(whole), weights_of(parts)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=2e-5, msg=name)
    first, second = (load_run(run).metrics.history[0].train_objective for run in (whole, parts))
    assert first == pytest.approx(second, rel=1e-4)


def test_new_head_starts_small_or_as_a_linear_layer(set_up_tiny: Callable[..., Training]) -> None:
    small = set_up_tiny(Recipe()).model.state_dict()
    linear = set_up_tiny(Recipe(head_start="linear")).model.state_dict()
    assert small["fc.bias"].abs().max() == 0
    assert small["fc.weight"].std() < 0.02
    assert 0.1 < linear["fc.weight"].abs().max() <= 0.25  # uniform up to 1 / sqrt(16)
    assert linear["fc.bias"].abs().max() > 0


def test_first_imagenet_weights_are_another_download_where_there_are_two(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[str] = []

    def download(name: str) -> Weights:
        fetched.append(name)
        return {}

    resnet = replace(
        architecture_of("resnet50"), download=partial(download, "best"), download_v1=partial(download, "first")
    )
    for source in ("imagenet", "imagenet_v1"):
        with pytest.raises(WeightsError, match="these are not weights of resnet50"):
            load_weights(resnet.build(3, 0.0, 0.0), resnet, source)
    assert fetched == ["best", "first"]
    assert main(["--data", str(photos), "--out", str(tmp_path / "out"), *FLAGS, "--weights", "imagenet_v1"]) == 1
    assert "tiny has only one set of ImageNet weights" in capsys.readouterr().err


def test_rest_of_an_epoch_is_a_batch_of_its_own_if_wished() -> None:
    keys = epoch_keys(["a"] * 21, 0, 0, 0)
    assert [len(batch) for batch in epoch_batches(keys, 8)] == [8, 8]
    assert [len(batch) for batch in epoch_batches(keys, 8, whole=False)] == [8, 8, 5]
    assert [len(batch) for batch in epoch_batches(keys, 10, whole=False)] == [10, 10]  # batch norm fails on one


def test_run_stops_early_and_says_so(train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    still = ("--head-rate", "1e-9", "--backbone-rate", "1e-9", "--ema-decay", "0")
    run = load_run(train_tiny(*still, "--epochs", "30", "--patience", "2"))
    delivery = run.metrics.delivery
    assert delivery is not None
    assert (delivery.epochs_trained, delivery.epochs_planned) == (len(run.metrics.history), 30)
    best = max(run.metrics.history, key=lambda record: (record.val_macro_f1, -record.epoch))
    assert delivery.epochs_trained == best.epoch + 2 < 30
    assert run.epochs == delivery.epoch == delivery.epochs_trained  # the last epoch's weights, not the best one's
    assert f"stopped early: 2 epochs brought nothing better than epoch {best.epoch}" in capsys.readouterr().out
    assert "The run stopped early: 2 epochs brought nothing better, of 30 that were planned." in delivery.describe()


BEST = ("--deliver", "best", "--epochs", "5", "--head-rate", "0.3", "--ema-decay", "0", "--schedule", "constant")


def test_best_epoch_is_delivered_and_owned_up_to(train_tiny: Callable[..., Path]) -> None:
    path = train_tiny(*BEST)
    run, state = load_run(path), load_state(path)
    delivery = run.metrics.delivery
    assert delivery is not None
    assert delivery.epoch < delivery.epochs_trained == 5  # the rate is far too high, so that the last is not the best
    chosen: Epoch = run.metrics.history[delivery.epoch - 1]
    assert run.validation.macro_f1 == chosen.val_macro_f1 == max(e.val_macro_f1 for e in run.metrics.history)
    assert changed(state["best"], weights_of(path)) == set()
    assert changed(state["model"], weights_of(path))
    assert "which flatters their figures" in delivery.describe()
    assert main(["report", str(path)]) == 0
    assert delivery.describe() in (path / "report.md").read_text(encoding="utf-8")


def test_resumed_run_delivers_the_same_best_epoch(
    train_tiny: Callable[..., Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_tiny(*BEST, "--patience", "3", name="whole")
    real_epoch, epochs = loop.train_epoch, iter(range(1, 100))

    def epoch_then_signal(*arguments: object) -> int:
        if next(epochs) == 4:
            signal.raise_signal(signal.SIGTERM)
        return real_epoch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_epoch", epoch_then_signal)
    out = tmp_path / "parts"
    arguments = ["--data", str(photos), "--out", str(out), *FLAGS, *BEST, "--patience", "3"]
    assert main(arguments) == 128 + signal.SIGTERM
    monkeypatch.setattr(loop, "train_epoch", real_epoch)
    assert main(["--resume", str(out)]) == 0
    assert changed(weights_of(whole), weights_of(out)) == set()
    assert load_run(whole).metrics.delivery == load_run(out).metrics.delivery


def test_memory_format_changes_nothing(set_up_tiny: Callable[..., Training], train_tiny: Callable[..., Path]) -> None:
    images = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    last, first = set_up_tiny(Recipe()), set_up_tiny(Recipe(), machine={"channels_last": False, "workers": 0})
    assert last.inputs(images).is_contiguous(memory_format=torch.channels_last)
    assert last.model.front[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index,union-attr]
    assert first.inputs(images).is_contiguous()
    losses = [
        load_run(train_tiny(*flags, name=name)).metrics.history[-1].train_loss
        for name, flags in (("last", ()), ("first", ("--no-channels-last",)))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_run_goes_on_where_nothing_can_be_compiled(
    train_tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> object:
        raise RuntimeError("No working C++ compiler found\nand more lines")

    monkeypatch.setattr(torch, "compile", refuse)
    assert load_run(train_tiny("--compile", "--epochs", "1")).epochs == 1
    printed = capsys.readouterr().out
    assert "note: torch.compile does not work here, the network runs as it is (RuntimeError: No working C++" in printed


def test_network_is_compiled_where_that_works(
    set_up_tiny: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a backend that only notes the graphs it is given: the same path, without a compiler's minute."""
    real, graphs = torch.compile, []

    def note(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", lambda target, **more: real(target, **{**more, "backend": note}))
    training = set_up_tiny(
        Recipe(dropout=0), machine={"compile": True, "workers": 0, "device": "cpu", "precision": "fp32"}
    )
    inputs = training.inputs(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    probes = len(graphs)
    torch.testing.assert_close(training.forward(inputs), training.model(inputs))
    assert len(graphs) > probes
    assert all(not name.startswith("_orig_mod") for name in training.model.state_dict())  # what is saved is as ever


def test_inception_trains_on_small_images_where_its_auxiliary_loss_does_not_count() -> None:
    small: dict[str, object] = {"data": "garbage", "model": "inception_v3", "train_size": 96, "test_size": 96}
    with pytest.raises(ValidationError, match="train_size must be at least 299"):
        TrainConfig.model_validate(small)
    recipe = TrainConfig.model_validate({**small, "recipe": {"auxiliary": 0}}).recipe
    architecture = architecture_of("inception_v3")
    model = architecture.build(3, 0.0, 0.0).train()
    names = set(model.state_dict())
    freeze(model, architecture, recipe, frozenset())
    logits, auxiliary = split_outputs(model(torch.zeros(2, 3, 96, 96)))
    assert (logits.shape, auxiliary) == ((2, 3), None)
    logits.sum().backward()
    idle = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert idle == []  # several processes would wait for them
    assert set(model.state_dict()) == names
