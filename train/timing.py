"""Where the time of a training step goes: waiting for data, input, forward, backward, optimizer.

On a CPU every step is measured. On a GPU the work is queued, and asking when it is done would make the CPU wait: there
every `EVERY`th step records CUDA events, which are read once, at the end of the epoch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeVar

import torch

from train.metrics import Timing

EVERY = 20
Item = TypeVar("Item")


class StepTimes:
    """The times of an epoch's steps: `for batch in times.waiting(batches)`, in it `begin`, a `lap` a part, `end`."""

    def __init__(self, device: torch.device, every: int | None = None) -> None:
        self._device = device
        self._every = every or (EVERY if device.type == "cuda" else 1)
        self._stamps: list[tuple[str, float | torch.cuda.Event]] = []
        self._laps: dict[str, float] = defaultdict(float)
        self._unread: list[list[tuple[str, float | torch.cuda.Event]]] = []
        self._waited_s, self._photos, self._steps, self._measured = 0.0, 0, 0, 0
        self._measures = False

    def waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield the batches; the time until each is there counts as waiting, whatever the device."""
        iterator = iter(batches)
        while True:
            begun_s = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                self._waited_s += time.monotonic() - begun_s
            yield batch

    def begin(self, photos: int) -> None:
        """A step on `photos` photos begins."""
        self._measures = self._steps % self._every == 0
        self._steps += 1
        self._photos += photos
        if self._measures:
            self._measured += photos
            self._stamps = [("begin", self._now())]

    def lap(self, name: str) -> None:
        """Everything since the last lap was `name`; a name may come several times in a step."""
        if self._measures:
            self._stamps.append((name, self._now()))

    def end(self) -> None:
        """The step is over."""
        if not self._measures:
            return
        if self._device.type == "cuda":
            self._unread.append(self._stamps)
        else:
            self._read(self._stamps)
        self._stamps = []

    def summary(self, validation_s: float = 0.0) -> Timing | None:
        """Milliseconds a photo of everything so far; None before the first step. Waits for a GPU."""
        if not self._photos or not self._measured:
            return None
        if self._unread:
            torch.cuda.synchronize(self._device)
            for stamps in self._unread:
                self._read(stamps)
            self._unread = []
        per_photo = {name: 1e3 * seconds / self._measured for name, seconds in self._laps.items()}
        return Timing(
            waiting_ms=1e3 * self._waited_s / self._photos,
            input_ms=per_photo.get("input", 0.0),
            forward_ms=per_photo.get("forward", 0.0),
            backward_ms=per_photo.get("backward", 0.0),
            optimizer_ms=per_photo.get("optimizer", 0.0),
            measured_photos=self._measured,
            validation_s=validation_s,
        )

    def _now(self) -> float | torch.cuda.Event:
        if self._device.type != "cuda":
            return time.monotonic()
        event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _read(self, stamps: list[tuple[str, float | torch.cuda.Event]]) -> None:
        for (_, before), (name, after) in pairwise(stamps):
            self._laps[name] += _seconds(before, after)


def _seconds(before: float | torch.cuda.Event, after: float | torch.cuda.Event) -> float:
    if isinstance(before, float) and isinstance(after, float):
        return after - before
    assert isinstance(before, torch.cuda.Event)
    assert isinstance(after, torch.cuda.Event)
    return float(before.elapsed_time(after)) / 1e3
