"""Where the time goes: planted times of a scripted clock, and a run's own figures, also in TensorBoard's files."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train.conftest import FLAGS, Steps
from train import finish, loop, set_up, timing
from train.checkpoint import load_run
from train.networks.activation_map import ActivationMap
from train.networks.front_cache import FrontCache
from train.report.event_log import EVENTS_FOLDER, epoch_scalars
from train.report.run_row import read_row
from train.run import main
from train.timing import StepTimes

WITH_EVENTS = [flag for flag in FLAGS if flag != "--no-tensorboard"]


class Clock:
    """A clock that shows what it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    scripted = Clock()
    monkeypatch.setattr(timing, "time", scripted)
    return scripted


def step(times: StepTimes, clock: Clock, photos: int, seconds: dict[str, float]) -> None:
    times.begin(photos)
    for name, duration in seconds.items():
        clock.now += duration
        times.lap(name)
    times.end()


def slow(clock: Clock, waits: list[float]) -> Iterator[int]:
    for number, wait in enumerate(waits):
        clock.now += wait
        yield number
    clock.now += 0.5  # the loader notices that there is no more


def test_times_are_a_photo_and_laps_of_one_name_add_up(clock: Clock) -> None:
    times = StepTimes(torch.device("cpu"))
    for _ in times.waiting(slow(clock, [1.0, 0.5])):
        step(times, clock, 10, {"input": 0.1, "forward": 1.0, "backward": 2.0})
        times.begin(10)  # as with accumulation: forward and backward by turns
        for name in ("forward", "backward", "forward", "backward", "optimizer"):
            clock.now += 0.2
            times.lap(name)
        times.end()
    found = times.summary(validation_s=7.0)
    assert found is not None
    assert found.measured_photos == 40
    expected = {"waiting for data": 50, "input": 5, "forward": 70, "backward": 120, "optimizer": 10}
    assert found.parts() == pytest.approx(expected)
    assert found.validation_s == 7.0


def test_only_every_nth_step_is_measured_and_waiting_always(clock: Clock) -> None:
    times = StepTimes(torch.device("cpu"), every=3)
    durations = [1.0, 50.0, 50.0, 3.0]
    for number in times.waiting(slow(clock, [0.25] * 4)):
        step(times, clock, 4, {"forward": durations[number]})
    found = times.summary()
    assert found is not None
    assert found.measured_photos == 8
    assert found.forward_ms == pytest.approx(1e3 * 4.0 / 8)
    assert found.waiting_ms == pytest.approx(1e3 * 1.5 / 16)


def test_nothing_was_done_yet() -> None:
    assert StepTimes(torch.device("cpu")).summary() is None


def read_events(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run / EVENTS_FOLDER))
    events.Reload()
    return events


def test_run_tells_where_its_time_went_also_to_tensorboard(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["--data", str(photos), "--out", str(out), "--epochs", "2", *WITH_EVENTS]) == 0
    history = load_run(out).metrics.history
    for record in history:
        assert record.timing is not None
        assert record.timing.measured_photos == 24  # three whole batches of eight
        parts = record.timing.parts()
        assert all(part > 0 for part in parts.values())
        # the parts are the step: they cannot take longer than the training of the epoch
        assert 24 * sum(parts.values()) / 1e3 <= record.seconds
        assert [group.rate for group in record.rates]
        assert max(group.rate for group in record.rates) == record.rate
    assert "Waiting for data took" in (out / "report.md").read_text(encoding="utf-8")
    assert "milliseconds a photo" in (out / "report.html").read_text(encoding="utf-8")

    events = read_events(out)
    assert set(events.Tags()["scalars"]) == set(epoch_scalars(history[0]))
    for tag, first in epoch_scalars(history[0]).items():
        assert [event.step for event in events.Scalars(tag)] == [1, 2]
        assert events.Scalars(tag)[0].value == pytest.approx(first, rel=1e-6)
    assert {"curves", "reliability", "mistakes"} <= set(events.Tags()["images"])


def test_every_second_before_and_in_an_epoch_counts_also_where_it_was_stopped(
    photos: Path, tmp_path: Path, clock: Clock, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map of the frozen front takes 7 s (there are two of them), a step 1 s, and nothing else any time."""
    real_open, real_step = FrontCache.open, loop.train_step

    def open_slowly(*arguments: object) -> ActivationMap:
        clock.now += 7
        return real_open(*arguments)  # type: ignore[arg-type]

    def step_slowly(*arguments: object) -> None:
        clock.now += 1
        real_step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FrontCache, "open", open_slowly)
    monkeypatch.setattr(loop, "train_step", step_slowly)
    for module in (loop, set_up, finish):
        monkeypatch.setattr(module, "time", clock)
    flags = ["--data", str(photos), "--epochs", "2", *FLAGS, "--freeze", "1", "--no-augment"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*flags, "--out", str(whole)]) == 0
    steps.stop_after(5)  # after two of the second epoch's three steps
    assert main([*flags, "--out", str(parts)]) == 128 + signal.SIGTERM
    assert main(["--resume", str(parts)]) == 0
    for run, before_s in ((whole, 14), (parts, 28)):  # a resumed run opens the maps again
        metrics, row = load_run(run).metrics, read_row(run, "run")
        assert [(record.seconds, record.images_per_second) for record in metrics.history] == [(3, 24 / 3)] * 2
        assert (metrics.set_up_seconds, metrics.seconds) == (before_s, before_s + 6)
        assert [seconds for seconds, _ in row.course] == [before_s + 3, before_s + 6]
        assert f"Before the first epoch {before_s}.0 s went into" in (run / "report.md").read_text(encoding="utf-8")


def test_killed_epoch_stands_in_tensorboard_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    real_save, calls = loop.save, iter(range(1, 100))

    def die_before_second_save(*arguments: object) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        real_save(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "save", die_before_second_save)
    flags = ["--data", str(photos), "--out", str(out), "--epochs", "3", *WITH_EVENTS]
    assert main(flags) == 128 + signal.SIGINT
    monkeypatch.setattr(loop, "save", real_save)
    assert main(["--resume", str(out)]) == 0
    events = read_events(out)
    assert [event.step for event in events.Scalars("loss/validation")] == [1, 2, 3]
    values = [event.value for event in events.Scalars("loss/validation")]
    np.testing.assert_allclose(values, [record.val_loss for record in load_run(out).metrics.history], rtol=1e-6)
    assert len(list((out / EVENTS_FOLDER).iterdir())) == 1


def test_tensorboard_can_be_switched_off(train_tiny: Callable[..., Path]) -> None:
    assert not (train_tiny("--no-tensorboard") / EVENTS_FOLDER).exists()
