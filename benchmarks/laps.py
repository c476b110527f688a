"""Timing several candidates fairly: one lap runs each of them once, so that noise of the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

WARM_UP = 3


def run_laps(
    candidates: Mapping[str, Callable[[], object]],
    *,
    laps: int,
    warm_up: int = WARM_UP,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Durations in milliseconds of every candidate, `laps` each, after `warm_up` laps that are not counted.

    Each lap begins with another candidate, so that none always runs on the caches of the same neighbour. Blocks.
    """
    if laps < 1:
        raise ValueError(f"laps must be 1 or more, but got {laps}")
    names = list(candidates)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for lap in range(-warm_up, laps):
        first = lap % len(names) if names else 0
        for name in names[first:] + names[:first]:
            start_s = clock()
            candidates[name]()
            duration_ms = (clock() - start_s) * 1000
            if lap >= 0:
                samples[name].append(duration_ms)
    return samples
