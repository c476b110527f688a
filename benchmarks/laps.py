"""Timing several candidates fairly: one lap runs each of them once, so that noise of the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

WARM_UP = 3


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A candidate: does the work and returns how long that took, in milliseconds of the monotonic clock."""

    def lap() -> float:
        start_s = clock()
        work()
        return (clock() - start_s) * 1000

    return lap


def run_laps(candidates: Mapping[str, Callable[[], float]], *, laps: int) -> dict[str, list[float]]:
    """Durations in milliseconds that every candidate returned, `laps` each, after `WARM_UP` laps that are not counted.

    Each lap begins with another candidate, so that none always runs on the caches of the same neighbour. Blocks.
    """
    if laps < 1:
        raise ValueError(f"laps must be 1 or more, but got {laps}")
    names = list(candidates)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for lap in range(-WARM_UP, laps):
        first = lap % len(names) if names else 0
        for name in names[first:] + names[:first]:
            duration_ms = candidates[name]()
            if lap >= 0:
                samples[name].append(duration_ms)
    return samples
