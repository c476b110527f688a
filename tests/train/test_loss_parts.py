"""The loss of training photos without augmentation, and what makes it higher while a network is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from smartbin.images import LabelledPhoto
from tests.train.tiny import NAME
from train.checkpoint import load_run
from train.datasets.photos import chosen_photos
from train.loader import Batch, SampleKey, Samples, load_batches
from train.metrics import LossParts
from train.networks.architectures import architecture_of
from train.report import loss_parts
from train.report.plots import draw_curves

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def parts_of(train_tiny: Callable[..., Path]) -> Callable[..., LossParts]:
    """A factory: train with these flags, return the parts of the loss."""

    def run(*flags: str, name: str = "run") -> LossParts:
        found = load_run(train_tiny("--epochs", "1", *flags, name=name)).metrics.loss_parts
        assert found is not None
        return found

    return run


def test_plain_loss_is_logged_each_epoch(train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    metrics = load_run(train_tiny("--plain-train-photos", "999")).metrics
    losses = [record.plain_train_loss for record in metrics.history]
    assert len(set(losses)) == 2
    assert losses[-1] == pytest.approx(metrics.train.loss, rel=1e-6)  # the same photos, the same weights
    assert f"(not augmented {losses[-1]:.3f})" in capsys.readouterr().out


def test_it_can_be_switched_off(train_tiny: Callable[..., Path]) -> None:
    off, whole = train_tiny("--plain-train-photos", "0", name="off"), train_tiny(name="on")
    metrics = load_run(off).metrics
    assert [record.plain_train_loss for record in metrics.history] == [None, None]
    assert metrics.loss_parts is None
    assert load_run(train_tiny("--no-loss-parts", name="no parts")).metrics.loss_parts is None
    ours, theirs = (load_file(run / "model.safetensors") for run in (off, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)  # measuring changes nothing


def test_choice_follows_from_the_seed() -> None:
    photos = [LabelledPhoto(Path(f"{number}.jpg"), "a") for number in range(100)]
    chosen = chosen_photos(photos, 20, 3)
    assert chosen == chosen_photos(photos, 20, 3) == tuple(sorted(chosen, key=photos.index))
    assert len(set(chosen)) == 20
    assert chosen != chosen_photos(photos, 20, 4)
    assert chosen_photos(photos, 100, 3) == tuple(photos)
    assert chosen_photos(photos, 0, 3) == ()


def test_every_cause_shows(parts_of: Callable[..., LossParts]) -> None:
    parts = parts_of("--dropout", "0.5")
    assert parts.photos == 24  # whole batches of 8 of the 25
    figures = [parts.plain, parts.augmented, parts.dropout, parts.batch_statistics, parts.training]
    figures += [parts.augmented_training, parts.not_averaged, parts.not_averaged_training]
    assert len(set(figures)) == len(figures)


def test_batches_mix_the_classes_as_in_training(
    parts_of: Callable[..., LossParts], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the folders a batch would be of one class, whose statistics no training batch has."""
    seen: list[list[int]] = []

    def watched(samples: Samples, batches: list[list[SampleKey]], workers: int) -> Iterator[Batch]:
        for batch in load_batches(samples, batches, workers):
            seen.append(batch.labels.tolist())
            yield batch

    monkeypatch.setattr(loss_parts, "load_batches", watched)
    parts_of()
    assert len(seen) == 8 * 3  # eight passes over three batches
    assert seen[:3] == seen[3:6]
    assert all(len(set(labels)) > 1 for labels in seen)


@pytest.mark.parametrize(
    ("flags", "same"),
    [
        (("--no-augment",), {("plain", "augmented"), ("training", "augmented_training")}),
        (("--dropout", "0"), {("plain", "dropout"), ("batch_statistics", "training")}),
        (("--freeze-bn", "on"), {("plain", "batch_statistics"), ("dropout", "training")}),
    ],
    ids=["augmentation", "dropout", "batch statistics"],
)
def test_what_is_off_shows_no_effect(
    parts_of: Callable[..., LossParts], tmp_path: Path, flags: tuple[str, ...], same: set[tuple[str, str]]
) -> None:
    torch.manual_seed(0)
    save_file(architecture_of(NAME).build(3, 0.0, 0.0).state_dict(), tmp_path / "start.safetensors")
    figures = parts_of("--weights", str(tmp_path / "start.safetensors"), "--freeze-bn", "off", *flags).model_dump()
    pairs = {("plain", "augmented"), ("training", "augmented_training"), ("plain", "dropout")}
    pairs |= {("batch_statistics", "training"), ("plain", "batch_statistics"), ("dropout", "training")}
    assert {pair for pair in pairs if figures[pair[0]] == pytest.approx(figures[pair[1]], rel=1e-6)} == same


@pytest.mark.parametrize("flags", [("--ema-decay", "0"), ("--deliver", "best")])
def test_without_an_average_of_the_last_epoch_there_is_nothing_to_compare(
    parts_of: Callable[..., LossParts], flags: tuple[str, ...]
) -> None:
    assert parts_of(*flags).not_averaged is None


def test_curves_show_the_third_line(train_tiny: Callable[..., Path]) -> None:
    metrics = load_run(train_tiny()).metrics
    lines = {str(line.get_label()): line for line in draw_curves(metrics).axes[0].lines}
    drawn = lines["training, not augmented"].get_ydata()
    assert list(drawn) == [record.plain_train_loss for record in metrics.history]
    without = [record.model_copy(update={"plain_train_loss": None}) for record in metrics.history]
    axes = draw_curves(metrics.model_copy(update={"history": without})).axes[0]
    assert "training, not augmented" not in [line.get_label() for line in axes.lines]
