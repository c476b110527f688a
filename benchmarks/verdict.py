"""Is a row faster or slower than in an earlier run, or is no difference seen? From the samples of both, per row.

The ratio of the medians gets a 99 % interval (there are many rows, and one in twenty would be wrong by chance) from a
bootstrap of blocks of successive samples, an eighth of the row each: neighbours in time share the machine's mood, so
single ones are not independent. That covers the noise within a run. What differs between the two runs as a whole is
judged by the yardstick, fixed pieces of work that are timed between all others: by as much as those moved, a row may
move without a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from benchmarks.report import Cell, Measurement, Report, Table
from smartbin.errors import ConfigError

Finding: TypeAlias = Literal["faster", "slower", "no difference seen", "too few samples"]

_ROUNDS = 1000
_BLOCKS = 8
"""Into so many a row is cut; with fewer samples no interval is worth its name."""
_SMALLEST = 0.05
"""Share below which a difference is never one: placement of code and memory alone moves times by some percent."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ratio` is the later median by the earlier one, `low` to `high` its 99 % interval; above 1 is slower."""

    ratio: float
    low: float
    high: float
    finding: Finding


def judge(earlier_ms: Sequence[float], later_ms: Sequence[float], tolerance: float) -> Verdict:
    """Hold two rows of samples against each other; differences up to the share `tolerance` count as none."""
    rng = np.random.default_rng(0)
    ratios = _medians(later_ms, rng) / _medians(earlier_ms, rng)
    low, high = (float(value) for value in np.percentile(ratios, [0.5, 99.5]))
    finding: Finding = "no difference seen"
    if min(len(earlier_ms), len(later_ms)) < _BLOCKS:
        finding = "too few samples"
    elif low > 1 + tolerance:
        finding = "slower"
    elif high < 1 / (1 + tolerance):
        finding = "faster"
    return Verdict(float(np.median(later_ms) / np.median(earlier_ms)), low, high, finding)


def machine_noise(earlier: Mapping[str, Sequence[float]], later: Mapping[str, Sequence[float]]) -> float:
    """By which share a yardstick moved: between two runs, or between the first and second half of either.

    Of the kinds of yardstick the one that moved most counts.
    """
    moved = [_SMALLEST]
    for name in earlier.keys() & later.keys():
        runs = (earlier[name], later[name])
        halves = [(samples[: len(samples) // 2], samples[len(samples) // 2 :]) for samples in runs]
        for first, second in (*halves, runs):
            moved.append(float(np.exp(abs(np.log(np.median(second) / np.median(first))))) - 1)
    return max(moved)


def check_comparable(baseline: Report, now: Report, where: object) -> None:
    """`ConfigError` unless both ran on the same kind of machine in the same power mode."""
    found, expected = baseline.conditions.same_machine_as, now.conditions.same_machine_as
    if found != expected:
        raise ConfigError(
            "the baseline is of another machine: its times cannot be compared with these",
            where=where,
            found=found,
            expected=expected,
            fix="measure a baseline on this machine, in this power mode",
        )


def compare(baseline: Report, now: Report, name: str) -> Table:
    """A verdict for every row that both reports have; rows of one only are named in the notes."""
    tolerance = machine_noise(baseline.yardstick_ms, now.yardstick_ms)
    before, after = _timed(baseline), _timed(now)
    rows: list[tuple[Cell, ...]] = []
    for key in after:
        if key in before:
            old, new = before[key], after[key]
            found = judge(old.samples_ms, new.samples_ms, tolerance)
            times: tuple[Cell, ...] = (old.latency.p50_ms, new.latency.p50_ms, found.ratio)
            interval = f"{found.low:.3f} to {found.high:.3f}"
            rows.append((": ".join(key), *times, interval, old.accuracy, new.accuracy, found.finding))
    notes = [
        f"ratio: median now by median then, with its 99 % interval; up to {tolerance:.1%} counts as no difference: by "
        "so much the yardstick, work that never changes, moved on this machine, or it is the least that counts."
    ]
    for here, there, said in ((after, before, "not in the baseline"), (before, after, "in the baseline only")):
        if missing := [": ".join(key) for key in here if key not in there]:
            notes.append(f"{said}: {'; '.join(missing)}")
    return Table(f"against {name}", _COLUMNS, tuple(rows), tuple(notes))


_COLUMNS = ("row", "then p50 ms", "now p50 ms", "ratio", "99 % interval", "accuracy then", "accuracy now", "verdict")


def _timed(report: Report) -> dict[tuple[str, str], Measurement]:
    return {
        (table.scenario, item.name): item for table in report.tables for item in table.measurements if item.samples_ms
    }


def _medians(samples_ms: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Medians [rounds] of samples that are drawn again in blocks, round the end to the beginning."""
    samples = np.asarray(samples_ms, np.float64)
    count = len(samples)
    block = max(1, count // _BLOCKS)
    within = np.arange(block)
    medians = np.empty(_ROUNDS)
    for number in range(_ROUNDS):
        starts = rng.integers(0, count, -(-count // block))
        medians[number] = np.median(samples[(starts[:, None] + within).ravel()[:count] % count])
    return medians
