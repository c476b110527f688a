"""How long the stages take: a timer for the loop and a summary of its samples."""

from __future__ import annotations

import time
from collections import deque
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


class StageTimer:
    """Collects durations by stage; keeps the newest `keep` samples of each, so that it can run for months."""

    def __init__(self, keep: int = 10_000, clock: Callable[[], float] = time.perf_counter) -> None:
        self._keep, self._clock = keep, clock
        self._samples: dict[str, deque[float]] = {}

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
        self._samples.setdefault(name, deque(maxlen=self._keep)).append(duration_ms)

    def newest_ms(self) -> tuple[tuple[str, float], ...]:
        """The newest duration of each stage, in the order in which the stages first ran."""
        return tuple((name, samples[-1]) for name, samples in self._samples.items())

    def summaries(self) -> dict[str, LatencySummary]:
        """A summary a stage, in the order in which the stages first ran."""
        stages = self._samples.copy()  # another thread may ask while a stage runs for the first time
        return {name: summarise(list(samples)) for name, samples in stages.items()}
