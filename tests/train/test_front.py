"""The frozen front, computed once: where a network can be cut, what is kept, and that nothing else changes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from tests.conftest import draw_photo
from tests.train.conftest import FLAGS, Steps
from tests.train.tiny import NAME
from train.cache.folder import CacheUnusableError
from train.checkpoint import load_run
from train.loader import SampleKey, with_views
from train.networks.activation_map import ActivationMap, ActivationWriter, DamagedMap, pack_bytes
from train.networks.architectures import architecture_of, split_outputs
from train.networks.freezing import freeze
from train.networks.front import Front, NoFrontError, find_front
from train.networks.front_cache import FrontCache
from train.recipe import Recipe
from train.run import main

pytestmark = pytest.mark.usefixtures("no_report")
STILL = ("--freeze", "1", "--no-augment", "--dropout", "0.3")


@pytest.fixture
def start(tmp_path: Path) -> tuple[str, str]:
    """Flags for starting weights of the tiny network, with batch norms that have seen something."""
    torch.manual_seed(5)
    model = architecture_of(NAME).build(3, 0.0, 0.0)
    for _ in range(3):
        model(torch.randn(8, 3, 32, 32) * 2 + 1)
    save_file(model.state_dict(), tmp_path / "start.safetensors")
    return "--weights", str(tmp_path / "start.safetensors")


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of kept fronts, which the next runs use."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own cache"))
    return tmp_path / "own cache" / "smartbin" / "fronts"


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def largest_difference(first: Path, second: Path) -> float:
    ours, theirs = weights_of(first), weights_of(second)
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def maps_in(caches: Path) -> list[Path]:
    return sorted(file.parent for file in caches.glob("*/front.json"))


def cut(name: str, recipe: Recipe, side: int = 64) -> tuple[nn.Module, Front]:
    architecture = architecture_of(name)
    torch.manual_seed(0)
    model = architecture.build(4, 0.2, 0.1)
    frozen = freeze(model, architecture, recipe, frozenset())
    return model, find_front(model, frozen, torch.randn(2, 3, side, side))


@pytest.mark.parametrize(
    ("name", "recipe", "last", "shape"),
    [
        ("resnet50", Recipe(freeze=7), "layer3", (1024, 4, 4)),
        ("resnet50", Recipe(freeze=9), "avgpool", (2048, 1, 1)),
        ("resnet50", Recipe(freeze_until="layer4"), "layer3", (1024, 4, 4)),
        ("efficientnet_lite0", Recipe(freeze_until="blocks.5"), "blocks.4", (112, 4, 4)),
        ("efficientnet_lite0", Recipe(freeze_until="head"), "global_pool", (1280,)),
        ("resnet9", Recipe(freeze=3), "residual1", (128, 32, 32)),
        ("timm:test_convnext", Recipe(freeze_until="stages.2"), "stages.1", (32, 8, 8)),
        ("tiny", Recipe(freeze=1), "front", (8, 32, 32)),
    ],
)
def test_where_a_network_is_cut(name: str, recipe: Recipe, last: str, shape: tuple[int, ...]) -> None:
    model, front = cut(name, recipe)
    assert front.modules[-1] == last
    with torch.no_grad():
        inputs = torch.randn(3, 3, 64, 64)
        activations = front.run(model.eval(), inputs)
        assert activations.shape == (3, *shape)
        back = front.back_of(model).eval()
        torch.testing.assert_close(back(activations), model(inputs))
    trained = {id(value) for value in model.parameters() if value.requires_grad}
    assert trained <= {id(value) for value in back.parameters()}  # the very same parameters
    assert front.modules[0] not in dict(back.named_parameters())


class _Answers(NamedTuple):
    logits: torch.Tensor
    aux_logits: torch.Tensor | None


class _Branching(nn.Module):
    """As InceptionV3: in training mode an auxiliary head looks at what the middle hands on."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.aux = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
        self.middle = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
        self.dropout = nn.Dropout(0.5)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 4)

    def forward(self, inputs: torch.Tensor) -> _Answers | torch.Tensor:
        features = self.first(inputs)
        auxiliary = self.aux(features) if self.training else None
        logits = self.fc(self.dropout(self.pool(self.middle(features))).flatten(1))
        return _Answers(logits, auxiliary) if self.training else logits


@pytest.mark.parametrize(("count", "last"), [(1, "first"), (2, "first"), (3, "first")])
def test_branch_that_only_training_takes_still_gets_its_input(count: int, last: str) -> None:
    """With the middle frozen as well, the cut has to be in front of it, where the auxiliary head looks."""
    torch.manual_seed(0)
    model = _Branching()
    inputs = torch.randn(2, 3, 12, 12)
    model(inputs)
    frozen = freeze(model, architecture_of(NAME), Recipe(freeze=count), frozenset())
    front = find_front(model, frozen, inputs)
    assert front.modules[-1] == last
    back = front.back_of(model)
    for network in (model, back):
        network.train()
    frozen.rest(model)
    with torch.no_grad():
        torch.manual_seed(1)
        expected = split_outputs(model(inputs))
        activations = front.run(model, inputs)
        torch.manual_seed(1)
        found = split_outputs(back(activations))
    for one, other in zip(expected, found, strict=True):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other)


def test_dropout_is_never_in_the_front() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.LazyLinear(4))
    inputs = torch.randn(2, 3, 12, 12)
    model(inputs)
    frozen = freeze(model, architecture_of(NAME), Recipe(freeze=3), frozenset())
    assert find_front(model, replace(frozen, resting=()), inputs).modules == ("0",)


@pytest.mark.parametrize(
    ("name", "recipe", "reason"),
    [
        ("timm:test_vit", Recipe(freeze_until="blocks.2"), "it computes more between its frozen parts"),
        ("tiny", Recipe(), "what runs first is not frozen"),
    ],
)
def test_network_that_cannot_be_cut(name: str, recipe: Recipe, reason: str) -> None:
    with pytest.raises(NoFrontError, match=reason):
        cut(name, recipe, side=160)


@pytest.mark.parametrize(("packing", "tolerance"), [("float32", 1e-5), ("float16", 5e-4), ("uint8", 5e-3)])
def test_kept_front_gives_the_same_run(
    train_tiny: Callable[..., Path], start: tuple[str, str], caches: Path, packing: str, tolerance: float
) -> None:
    # SGD, since Adam steps as far for a gradient that is nothing but rounding as for any other
    flags = (*start, *STILL, "--optimizer", "sgd", "--head-rate", "0.02", "--backbone-rate", "0.02")
    whole = train_tiny(*flags, "--front", "off", name="whole")
    assert not maps_in(caches)
    kept = train_tiny(*flags, "--front", packing, name="kept")
    assert len(maps_in(caches)) == 2  # training and validation
    difference = largest_difference(whole, kept)
    assert difference < tolerance
    assert packing == "float32" or difference > 0  # the rounded answers were used
    ours, theirs = load_run(whole).metrics, load_run(kept).metrics
    for one, other in zip(ours.history, theirs.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=tolerance)
        assert other.val_loss == pytest.approx(one.val_loss, rel=tolerance)
        assert other.plain_train_loss == pytest.approx(one.plain_train_loss, rel=tolerance)
    start_weights, after = load_file(start[1]), weights_of(kept)
    assert torch.equal(start_weights["front.0.weight"], after["front.0.weight"])
    assert torch.equal(start_weights["front.1.running_mean"], after["front.1.running_mean"])
    assert not torch.equal(start_weights["back.0.weight"], after["back.0.weight"])


def test_views_are_augmented_once_and_taken_in_turn(
    train_tiny: Callable[..., Path], start: tuple[str, str], caches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (*start, "--freeze", "1", "--views", "3", "--epochs", "4")
    whole = train_tiny(*flags, "--front", "off", name="whole")
    kept = train_tiny(*flags, "--front", "float32", name="kept")
    assert "frozen front of 1 modules computed once" in capsys.readouterr().out
    assert largest_difference(whole, kept) < 1e-5
    assert sorted(len(ActivationMap(path)) for path in maps_in(caches)) == [6, 25, 75]  # validation, plain, three views
    changed = train_tiny(*flags, "--views", "4", "--front", "float32", name="other")
    assert largest_difference(whole, changed) > 1e-3


def test_each_epoch_takes_another_view() -> None:
    keys = [SampleKey(photo, 1000 + photo) for photo in (3, 5, 3, 7)]
    epochs = [with_views(keys, 3, 0, epoch) for epoch in range(4)]
    assert [[key.view for key in epoch] for epoch in epochs] == [[0, 0, 1, 0], [1, 1, 2, 1], [2, 2, 0, 2], [0, 0, 1, 0]]
    assert epochs[0] == epochs[3]
    seeds = {(key.photo, key.view): key.seed for epoch in epochs for key in epoch}
    assert len(set(seeds.values())) == len(seeds) == 9
    assert all(seeds[key.photo, key.view] == key.seed for epoch in epochs for key in epoch)


def test_second_run_finds_what_the_first_one_kept(
    train_tiny: Callable[..., Path],
    start: tuple[str, str],
    caches: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = train_tiny(*start, *STILL, name="first")
    with monkeypatch.context() as patch:
        patch.setattr(FrontCache, "_write", lambda *_: pytest.fail("the front was computed again"))
        again = train_tiny(*start, *STILL, name="again")
    assert largest_difference(first, again) == 0
    kept = maps_in(caches)

    train_tiny(*start, *STILL, "--front", "uint8", name="packing")
    train_tiny(*start, *STILL, "--set", "brightness.enabled=false", name="brightness")
    save_file({**load_file(start[1]), "front.1.bias": torch.full((8,), 0.5)}, tmp_path / "other.safetensors")
    train_tiny("--weights", str(tmp_path / "other.safetensors"), *STILL, name="weights")
    for number in range(1, 7):
        cv2.imwrite(str(photos / "can" / f"can{number}.jpg"), draw_photo(70 + number))
    train_tiny(*start, *STILL, name="changed photos")
    assert len(maps_in(caches)) >= len(kept) + 2 + 2 + 2 + 1  # nothing of another setting was taken


def test_resumed_run_equals_an_uninterrupted_one(
    train_tiny: Callable[..., Path],
    start: tuple[str, str],
    caches: Path,
    tmp_path: Path,
    steps: Steps,
) -> None:
    flags = (*start, "--freeze", "1", "--views", "2", "--dropout", "0.4")
    whole = train_tiny(*flags, name="whole")
    steps.stop_after(4)
    out = tmp_path / "parts"
    arguments = ["--data", str(tmp_path / "photos"), "--out", str(out), "--epochs", "2", *FLAGS, *flags]
    assert main(arguments) == 128 + signal.SIGTERM
    assert main(["cache", "clear"]) == 0
    assert not maps_in(caches)  # computed anew by the resumed run, to the same result
    assert main(["--resume", str(out)]) == 0
    assert largest_difference(whole, out) == 0


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--freeze", "1"), "every epoch augments anew; --views 5 or --no-augment would let it be"),
        ((*STILL, "--mixup", "0.2"), "mixup and cutmix mix photos"),
        ((*STILL, "--no-frozen-statistics"), "its batch norms follow the batches"),
        (("--no-augment",), "nothing is frozen"),
        ((*STILL, "--cache-gb", "1e-6"), "activations of the frozen front would take"),
    ],
)
def test_what_keeps_the_front_from_being_computed_once(
    train_tiny: Callable[..., Path],
    photos: Path,
    tmp_path: Path,
    caches: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    reason: str,
) -> None:
    """`auto` says so and goes on; who insists gets an error."""
    run = load_run(train_tiny(*flags, "--epochs", "1"))
    assert run.epochs == 1
    printed = capsys.readouterr().out
    if "--freeze" in flags:
        assert f"note: the frozen front is computed for every batch ({reason}" in printed
    assert not maps_in(caches)
    arguments = ["--data", str(photos), "--out", str(tmp_path / "insisting"), *FLAGS, *flags, "--front", "float16"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "the frozen front cannot be computed once" in error
    assert reason in error


@given(st.integers(0, 2**32 - 1), st.sampled_from([(5,), (4, 5), (3, 4, 5)]))
def test_bytes_are_wrong_by_at_most_half_a_step(seed: int, shape: tuple[int, ...]) -> None:
    row = np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)
    packed, (least, step) = pack_bytes(row)
    assert packed.dtype == np.uint8
    assert (np.abs(packed * step + least - row) <= 0.5 * step + 1e-5).all()


def written(folder: Path, rows: list[np.ndarray], packing: str = "float16") -> Path:
    folder.mkdir()
    writer = ActivationWriter(folder, packing)  # type: ignore[arg-type]
    for row in rows:
        writer.add(row)
    writer.finish()
    return folder


def test_altered_or_incomplete_map_is_refused(tmp_path: Path) -> None:
    rows = [np.random.default_rng(number).normal(0, 1, (4, 4, 6)).astype(np.float32) for number in range(3)]
    folder = written(tmp_path / "map", rows)
    opened = ActivationMap(folder)
    assert all(np.allclose(opened.row(number), rows[number], rtol=1e-3) for number in range(3))
    content = bytearray((folder / "rows.bin").read_bytes())
    content[250] ^= 255
    (folder / "rows.bin").write_bytes(content)
    damaged = ActivationMap(folder)
    assert np.allclose(damaged.row(0), rows[0], rtol=1e-3)
    with pytest.raises(DamagedMap):
        damaged.row(1)
    (folder / "rows.bin").write_bytes(content[:-2])
    with pytest.raises(DamagedMap):
        ActivationMap(folder)
    (folder / "front.json").unlink()
    with pytest.raises(DamagedMap):
        ActivationMap(folder)


def resident_bytes() -> int:
    """Of this process, on Linux."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc/self/statm is not here")
def test_reading_a_large_map_takes_no_memory(tmp_path: Path) -> None:
    rows = [np.full((64, 64, 128), number, np.float32) for number in range(2)]  # 1 MB each as float16
    opened = ActivationMap(written(tmp_path / "map", rows * 80))
    assert opened.nbytes == 160 << 20
    before = resident_bytes()
    for number in range(len(opened)):
        assert opened.row(number)[0, 0, 0] == number % 2
    assert resident_bytes() - before < 64 << 20


def test_run_on_an_altered_map_ends_with_an_error(
    train_tiny: Callable[..., Path],
    start: tuple[str, str],
    caches: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_tiny(*start, *STILL)
    for folder in maps_in(caches):
        content = bytearray((folder / "rows.bin").read_bytes())
        content[::97] = bytes(len(content[::97]))
        (folder / "rows.bin").write_bytes(content)
    assert main(["--data", str(photos), "--out", str(tmp_path / "second"), *FLAGS, *start, *STILL]) == 1
    assert "the kept activations of the frozen front were altered" in capsys.readouterr().err


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    cache = FrontCache(tmp_path, 10**9)
    with pytest.raises(CacheUnusableError, match="70000 is too large for float16: give --front float32"):
        cache.open("key", "float16", 1, lambda: iter([np.full(3, 7e4, np.float32)]))
    assert not list((tmp_path / "fronts").glob("[!.]*/*"))
    kept = cache.open("key", "float32", 1, lambda: iter([np.full(3, 7e4, np.float32)]))
    assert kept.row(0).tolist() == [7e4] * 3


def test_cache_command_lists_and_clears_fronts(
    train_tiny: Callable[..., Path], start: tuple[str, str], caches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tiny(*start, *STILL)
    names = [path.name for path in maps_in(caches)]
    capsys.readouterr()
    assert main(["cache"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert main(["cache", "clear"]) == 0
    assert not maps_in(caches)
