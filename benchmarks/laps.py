"""Timing several candidates fairly: one lap runs each of them once, so that noise of the machine hits all alike.

Each lap ends with the yardstick, a piece of work that never changes: how it moves between two runs says how much of a
row's movement is the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import cv2
import numpy as np

WARM_UP = 3


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A candidate: does the work and returns how long that took, in milliseconds of the monotonic clock."""

    def lap() -> float:
        start_s = clock()
        work()
        return (clock() - start_s) * 1000

    return lap


class Yardstick:
    """Two kinds of work on data that never changes, on one thread: `compute` sorts, `memory` copies, shrinks a frame.

    A busy neighbour slows them differently, as it does what is measured.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        numbers, frame = rng.permutation(20_000), rng.integers(0, 256, (720, 1280, 3), np.uint8)
        self._work: dict[str, Callable[[], float]] = {
            "compute": timed(lambda: np.sort(numbers, kind="stable")),
            "memory": timed(lambda: cv2.resize(frame.copy(), (224, 224), interpolation=cv2.INTER_AREA)),
        }
        self.samples_ms: dict[str, list[float]] = {name: [] for name in self._work}

    def lap(self) -> None:
        """Take a sample of each, a millisecond or two."""
        for name, work in self._work.items():
            self.samples_ms[name].append(work())


class Laps:
    """How many laps, and the yardstick that goes with them."""

    def __init__(self, count: int, yardstick: Yardstick) -> None:
        if count < 1:
            raise ValueError(f"laps must be 1 or more, but got {count}")
        self.count, self._yardstick = count, yardstick

    def run(self, candidates: Mapping[str, Callable[[], float]], count: int | None = None) -> dict[str, list[float]]:
        """Durations in milliseconds that every candidate returned, `count` each (default: all laps).

        `WARM_UP` laps before them are not counted. Each lap begins with another candidate, so that none always runs on
        the caches of the same neighbour. Blocks.
        """
        names = list(candidates)
        samples: dict[str, list[float]] = {name: [] for name in names}
        for lap in range(-WARM_UP, self.count if count is None else count):
            first = lap % len(names) if names else 0
            for name in names[first:] + names[:first]:
                duration_ms = candidates[name]()
                if lap >= 0:
                    samples[name].append(duration_ms)
            self._yardstick.lap()
        return samples
