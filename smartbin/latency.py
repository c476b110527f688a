"""How long the stages take: a timer for the loop and a summary of its samples."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Count, mean, percentiles and maximum of durations in milliseconds."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


def summarise(samples_ms: Sequence[float]) -> LatencySummary:
    """Summarise one or more durations in milliseconds; `ValueError` for none."""
    if not samples_ms:
        raise ValueError("no samples to summarise")
    values = np.asarray(samples_ms, np.float64)
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return LatencySummary(len(values), float(values.mean()), float(p50), float(p95), float(p99), float(values.max()))


class _Newest:
    """The newest `keep` durations of a stage, in memory that is taken at once: a rare stage fills it for hours."""

    __slots__ = ("_count", "_values_ms")

    def __init__(self, keep: int) -> None:
        self._values_ms, self._count = array("d", bytes(8 * keep)), 0

    def add(self, duration_ms: float) -> None:
        self._values_ms[self._count % len(self._values_ms)] = duration_ms
        self._count += 1

    @property
    def last_ms(self) -> float:
        return self._values_ms[(self._count - 1) % len(self._values_ms)]

    def values_ms(self) -> array[float]:
        """A copy, in no order."""
        return self._values_ms[: self._count]


class StageTimer:
    """Collects durations by stage; keeps the newest `keep` samples of each, so that it can run for months."""

    def __init__(self, keep: int = 10_000, clock: Callable[[], float] = time.perf_counter) -> None:
        self._keep, self._clock = keep, clock
        self._samples: dict[str, _Newest] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as one sample of stage `name`, also when it raises."""
        start_s = self._clock()
        try:
            yield
        finally:
            self.add(name, (self._clock() - start_s) * 1000)

    def add(self, name: str, duration_ms: float) -> None:
        """Add a sample measured elsewhere."""
        samples = self._samples.get(name)
        if samples is None:
            samples = _Newest(self._keep)
            samples.add(duration_ms)
            self._samples[name] = samples  # only now: another thread may ask for the newest at any moment
        else:
            samples.add(duration_ms)

    def newest_ms(self) -> tuple[tuple[str, float], ...]:
        """The newest duration of each stage, in the order in which the stages first ran."""
        return tuple((name, samples.last_ms) for name, samples in self._samples.items())

    def summaries(self) -> dict[str, LatencySummary]:
        """A summary a stage, in the order in which the stages first ran."""
        stages = self._samples.copy()  # another thread may ask while a stage runs for the first time
        return {name: summarise(samples.values_ms()) for name, samples in stages.items()}
