"""Where batches come from changes nothing but the noise; losses are summed without asking for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from smartbin.images import LabelledPhoto, list_images
from smartbin.preprocess import PreprocessSpec
from tests.train.conftest import FLAGS
from tests.train.test_run import weights_of
from train import loop, supply
from train.cache.reading import read_photos
from train.checkpoint import load_run
from train.inference import DevicePreparation
from train.kept_batches import KeptBatches
from train.loader import PhotoSamples, in_order
from train.losses import Losses
from train.run import main
from train.training import Training

NO_NOISE = ("--light", "0", "--erase", "0", "--colour", "none")


def test_augmentation_on_the_device_trains_the_same_network(
    train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to noise, which is off here, and to the rounding of a resize."""
    on_cpu = train_tiny(*NO_NOISE, "--augment-on", "cpu", name="cpu")
    assert "augmented there" not in capsys.readouterr().out
    on_device = train_tiny(*NO_NOISE, "--augment-on", "device", name="device")
    assert "training photos on the device, augmented there" in capsys.readouterr().out
    ours, theirs = weights_of(on_device), weights_of(on_cpu)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 0.02
    losses = [[record.train_loss for record in load_run(path).metrics.history] for path in (on_cpu, on_device)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert losses[0] != losses[1]


def test_nothing_to_do_on_the_device(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--no-augment", "--augment-on", "device"]
    assert main(flags) == 2
    assert "augment.enabled = false" in capsys.readouterr().err


def test_without_a_gpu_the_cpu_augments(train_tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "upload_photos", lambda *_: pytest.fail("photos were copied"))
    train_tiny("--epochs", "1")


@pytest.mark.parametrize(("most_bytes", "loads"), [(10**9, 1), (100, 3)], ids=["kept", "too many to keep"])
def test_validation_batches_are_kept_if_there_is_room(
    photos: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int, loads: int
) -> None:
    listed = [LabelledPhoto(path, path.parent.name) for path in list_images(photos)]
    samples = PhotoSamples(
        listed, ("bottle", "can", "carton"), read_photos(listed, "none"), DevicePreparation(PreprocessSpec(size=32))
    )
    kept = KeptBatches(torch.device("cpu"), most_bytes)
    read: list[int] = []
    real = DevicePreparation.__call__
    monkeypatch.setattr(
        DevicePreparation, "__call__", lambda self, image, seed: (read.append(seed), real(self, image, seed))[1]
    )
    found = [list(kept.load(samples, in_order(37, 16), 0)) for _ in range(3)]
    assert len(read) == 37 * loads
    for again in found[1:]:
        assert all(torch.equal(one.images, other.images) for one, other in zip(found[0], again, strict=True))
        assert [batch.labels.tolist() for batch in again] == [batch.labels.tolist() for batch in found[0]]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_no_step_waits_for_the_gpu(train_tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    real_step, steps = loop.train_step, iter(range(1000))

    def watched(training: Training, *arguments: object) -> None:
        torch.cuda.set_sync_debug_mode("error" if next(steps) > 2 else "default")
        real_step(training, *arguments)  # type: ignore[arg-type]
        torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "train_step", watched)
    train_tiny("--device", "cuda", "--epochs", "3", "--mixup", "0.2")
    assert next(steps) == 9


def test_losses_go_on_where_they_were() -> None:
    whole, parts = Losses(torch.device("cpu")), Losses(torch.device("cpu"))
    values = torch.rand(9, generator=torch.Generator().manual_seed(0))
    for number, value in enumerate(values):
        whole.add(value, 2 * value)
        parts.add(value, 2 * value)
        if number == 4:
            sums = parts.sums()
            parts = Losses(torch.device("cpu"))
            parts.restart(*sums)
    assert whole.sums() == parts.sums()
    assert whole.sums()[0] == pytest.approx(float(values.sum()))
    assert whole.note(9) == f"loss {float(values.mean()):.3f}"
    whole.restart()
    assert whole.sums() == (0.0, 0.0)
