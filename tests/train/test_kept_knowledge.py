"""What a run keeps of its starting weights: probed head, pull, second loss, blend; and that it resumes exactly."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from smartbin.config import load_settings
from tests.train.conftest import FLAGS, Steps
from tests.train.test_run import assert_same_weights, weights_of
from tests.train.test_scenes import write_boxes
from tests.train.tiny import NAME, TinyNetwork
from train.checkpoint import load_run, load_state
from train.config import TrainConfig
from train.networks.anchor import anchor_of
from train.networks.architectures import architecture_of
from train.networks.knowledge import knowledge_of
from train.networks.probe import fit_probe, head_inputs, head_of
from train.networks.weights import load_weights
from train.run import main

KEPT = ("--head-start", "probe", "--keep", "1", "--pull", "2", "--blend", "0.25")


@pytest.fixture
def start(train_tiny: Callable[..., Path]) -> str:
    """Weights that another run has learnt, its three-class head included; its batch norms have settled."""
    return str(train_tiny("--epochs", "12", "--ema-decay", "0", name="start") / "model.safetensors")


def report_of(run: Path) -> str:
    """What the report says above its sections."""
    text, page = ((run / file).read_text(encoding="utf-8") for file in ("report.md", "report.html"))
    summary = text.split("\n\n")[1]
    assert summary in page
    return summary


def test_probe_tells_apart_what_can_be_told_apart_and_ignores_scales() -> None:
    torch.manual_seed(0)
    labels = torch.arange(90) % 3
    features = torch.randn(90, 8) + 4 * nn.functional.one_hot(labels, 8)
    weight, bias = fit_probe(features, labels, 3)
    assert torch.equal((features @ weight.T + bias).argmax(dim=1), labels)
    scales = torch.tensor([1e-2, 1.0, 50.0, 1.0, 1.0, 3.0, 1.0, 1.0])
    scaled_weight, scaled_bias = fit_probe(features * scales + 5, labels, 3)
    logits, scaled = features @ weight.T + bias, (features * scales + 5) @ scaled_weight.T + scaled_bias
    assert torch.allclose(logits, scaled, atol=0.15)


def test_run_begins_with_the_probe(train_tiny: Callable[..., Path], start: str) -> None:
    """Training at next to no rate: what is delivered is the probe, and not the random head."""
    still = ("--weights", start, "--epochs", "1", "--head-rate", "1e-12", "--backbone-rate", "1e-12")
    probed = weights_of(train_tiny(*still, "--head-start", "probe", name="probed"))
    loaded = weights_of(train_tiny(*still, name="loaded"))
    assert not torch.allclose(probed["fc.weight"], loaded["fc.weight"], atol=1e-3)
    assert torch.allclose(probed["back.0.weight"], loaded["back.0.weight"], atol=1e-6)


def test_probe_that_training_would_not_see_is_left_out(
    train_tiny: Callable[..., Path], start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Batch norms that belong to far larger activations: in eval mode the head gets next to nothing."""
    strange = {name: value.clone() for name, value in weights_of(Path(start).parent).items()}
    strange["back.1.running_var"] *= 1e6
    strange["back.1.bias"] *= 0
    file = tmp_path / "strange.safetensors"
    save_file(strange, file)
    flags = ("--weights", str(file), "--epochs", "1", "--head-start", "probe")
    train_tiny(*flags, "--freeze-bn", "off", name="strange")
    assert "the head starts small and not as a probe" in capsys.readouterr().out
    train_tiny(*flags, "--freeze-bn", "on", name="kept")
    train_tiny("--weights", start, *flags[2:], name="usual")
    assert "not as a probe" not in capsys.readouterr().out


def test_head_inputs_are_recorded_only_while_watched() -> None:
    model = TinyNetwork(3, 0.0).eval()
    with head_inputs(head_of(model, architecture_of(NAME))) as seen:
        logits = model(torch.ones(2, 3, 32, 32))
    model(torch.ones(2, 3, 32, 32))
    assert len(seen) == 1
    assert torch.allclose(model.fc(seen[0]), logits)


def test_knowledge_is_all_there_at_the_start_and_its_loss_grows_with_what_is_lost(start: str) -> None:
    model, architecture = TinyNetwork(6, 0.0), architecture_of(NAME)
    load_weights(model, architecture, start)
    knowledge = knowledge_of(model, architecture, start)
    assert knowledge.head.out_features == 3
    model.eval()
    inputs = torch.randn(4, 3, 32, 32)
    answers = knowledge.answers(inputs)

    def lost() -> float:
        with knowledge.watching() as features:
            model(inputs)
        return knowledge.loss(features[0], answers).item()

    assert lost() == pytest.approx(0, abs=1e-6)
    losses = [lost()]
    for _ in range(3):
        with torch.no_grad():
            model.back[0].weight.add_(0.3 * torch.randn_like(model.back[0].weight))
        losses.append(lost())
    assert losses[-1] > losses[0] + 1e-4
    knowledge.loss(knowledge.head.weight.new_zeros(4, 16).requires_grad_(), answers).backward()
    assert knowledge.head.weight.grad is None  # the teacher's head is never trained


def test_keep_needs_a_head_to_keep(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--data", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--keep", "1"])
    assert code == 2
    assert "no head whose knowledge could be kept" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_pull_goes_towards_the_start_by_rate_times_strength() -> None:
    model = TinyNetwork(3, 0.0)
    anchor = anchor_of(model, architecture_of(NAME), frozenset({"front.0.weight", "fc.weight"}), with_head=False)
    before = model.front[0].weight.detach().clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    others = model.back[0].weight.detach().clone()
    anchor.pull(model, torch.optim.SGD(model.parameters(), lr=0.1), strength=2.0)
    assert torch.allclose(model.front[0].weight, before + 0.8, atol=1e-6)
    assert torch.equal(model.back[0].weight, others)  # it was not loaded, so there is nothing to go back to


def test_pull_keeps_a_run_nearer_to_its_start(train_tiny: Callable[..., Path], start: str) -> None:
    flags = ("--weights", start, "--backbone-rate", "0.02", "--weight-decay", "0")
    free, held = (weights_of(train_tiny(*flags, "--pull", pull, name=f"pull{pull}")) for pull in ("0", "20"))
    begun = weights_of(Path(start).parent)
    moved = [float((run["back.0.weight"] - begun["back.0.weight"]).norm()) for run in (free, held)]
    assert moved[1] < 0.7 * moved[0]


def test_blend_delivers_a_point_between_start_and_end(train_tiny: Callable[..., Path], start: str) -> None:
    flags = ("--weights", start, "--backbone-rate", "0.02")
    whole = train_tiny(*flags, name="whole")
    blended = train_tiny(*flags, "--blend", "0.25", name="blended")
    begun, ended, delivered = weights_of(Path(start).parent), weights_of(whole), weights_of(blended)
    for name in ("front.0.weight", "back.1.running_var", "back.0.weight"):
        assert torch.allclose(delivered[name], 0.25 * begun[name] + 0.75 * ended[name], atol=1e-6), name
    # The state to resume from is the unblended one, or a run that is finished twice would be blended twice
    assert torch.equal(load_state(blended)["ema"]["back.0.weight"], ended["back.0.weight"])
    assert load_run(blended).validation.photos == 6

    assert "blend" not in report_of(whole)
    assert main(["--resume", str(whole), "--blend", "0.25"]) == 0  # a finished run, blended afterwards
    assert_same_weights(whole, blended)
    assert "a blend: 0.75 of these and 0.25 of the starting weights" in report_of(whole)
    assert main(["--resume", str(whole), "--blend", "0"]) == 0
    assert "blend" not in report_of(whole)
    assert all(torch.equal(value, ended[name]) for name, value in weights_of(whole).items())


def test_two_runs_are_blended_into_one(
    train_tiny: Callable[..., Path], start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (train_tiny("--weights", start, "--seed", seed, name=f"run{seed}") for seed in ("1", "2"))
    ours, theirs = weights_of(first), weights_of(second)
    assert main(["--resume", str(first), "--blend", "0.4", "--blend-with", str(second)]) == 0
    assert "a blend: 0.60 of these and 0.40 of the weights of the run run2" in report_of(first)
    for name, value in weights_of(first).items():
        if value.is_floating_point():
            assert torch.allclose(value, 0.6 * ours[name] + 0.4 * theirs[name], atol=1e-6), name

    assert main(["--resume", str(first), "--blend", "0", "--blend-with", str(second)]) == 2
    assert "blend_with needs a blend above 0" in capsys.readouterr().err
    others = tmp_path / "others"
    write_boxes(others)
    stranger = train_tiny("--epochs", "1", name="stranger", data=others)
    assert main(["--resume", str(second), "--blend", "0.4", "--blend-with", str(stranger)]) == 1
    assert "cannot be blended" in capsys.readouterr().err
    assert torch.equal(weights_of(second)["fc.weight"], theirs["fc.weight"])
    assert load_settings(TrainConfig, second / "config.toml").recipe.blend == 0  # nothing was touched


def test_nothing_else_of_the_recipe_changes_on_resume(
    train_tiny: Callable[..., Path], start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_tiny("--weights", start, name="run")
    assert main(["--resume", str(run), "--pull", "3"]) == 2
    assert "a resumed run keeps its settings" in capsys.readouterr().err


@pytest.mark.parametrize("stop_after", [2, 6], ids=["in the first epoch", "at the very end"])
def test_run_that_keeps_knowledge_resumes_exactly(
    train_tiny: Callable[..., Path],
    tmp_path: Path,
    start: str,
    steps: Steps,
    stop_after: int,
) -> None:
    flags = ("--weights", start, *KEPT, "--paste", "0.5", "--dropout", "0.4")
    whole = train_tiny(*flags, name="whole")
    steps.stop_after(stop_after)
    out, data = tmp_path / "parts", tmp_path / "photos"
    assert main(["--data", str(data), "--out", str(out), "--epochs", "2", *FLAGS, *flags]) == 128 + signal.SIGTERM
    assert main(["--resume", str(out)]) == 0
    assert_same_weights(whole, out)
    plain = train_tiny("--weights", start, "--dropout", "0.4", name="plain")
    with pytest.raises(AssertionError):
        assert_same_weights(whole, plain)
