"""The daemon on a camera that fails all the time: what it noticed of every fault, and how soon it was well again.

The daemon is put together by the code of `smartbin run`; its source is `test://scene`, whose faults are known one by
one, at as many frames a second as there can be.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks.own_process import resident_mb
from benchmarks.report import Cell, Measurement, Table
from device.capture import CaptureCounts
from device.clock import Clock, SystemClock
from device.config import load_config
from device.events import Event, FrameView, Lifecycle, Session
from device.fault_camera import InjectedFault
from device.fault_plan import FAULT_KINDS, FaultKind
from device.opening import CameraOpener
from device.run_command import assemble
from device.sinks import SinkGroup
from device.sources import parse_source
from device.summary import RunSummary
from smartbin.bundle import read_bundle
from smartbin.runtime import RuntimeName, open_classifier

SAMPLE_S = 0.1
_MEMORY_EVERY = 50  # samples
_SETTLED = 0.2  # of the soak: memory before it does not count as growth
_MARGIN_S = 0.5  # after a fault, in which what it did may still show
_GAP_S = 0.4  # a pause between two frames that a good camera never makes
_SINCE_BEGIN: frozenset[FaultKind] = frozenset({"freeze", "corrupt", "wrong_size", "wrong_channels"})
"""Cured by opening the camera anew, so that recovery counts from the fault's begin; else from its end."""


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """For how long, and how often it fails: `every_s` good seconds between two faults of about `hold_s`."""

    bundle: Path
    runtime: RuntimeName
    threads: int
    minutes: float
    every_s: float
    hold_s: float
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon counted at a moment, seconds of the monotonic clock."""

    now_s: float
    counts: CaptureCounts


class Witness:
    """A sink that remembers what the daemon told, and samples what it counts in a thread of its own."""

    def __init__(self, clock: Clock, counts: Callable[[], CaptureCounts]) -> None:
        self._clock, self._counts = clock, counts
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.samples: list[Sample] = []
        self.memory: list[tuple[float, float]] = []
        self.frames, self.good, self.dark = array("d"), array("d"), array("d")  # moments; a soak has a million
        self.ages_s = array("d")
        self.states: list[tuple[float, Lifecycle]] = []

    def start(self, session: Session) -> None:
        """Begin to sample."""
        self._thread.start()

    def event(self, event: Event) -> None:
        """A change of lifecycle, or a decision: how old its frame is."""
        now_s = self._clock.now_s()
        if event.lifecycle is not None:
            self.states.append((now_s, event.lifecycle))
        if event.age_ms is not None:
            self.ages_s.append(event.age_ms / 1000)

    def frame(self, view: FrameView) -> None:
        """When, and in which light."""
        now_s = self._clock.now_s()
        self.frames.append(now_s)
        if view.light != "too_bright":
            (self.good if view.light == "ok" else self.dark).append(now_s)

    def close(self) -> None:
        """End the sampling."""
        self._done.set()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_S):
            now_s = self._clock.now_s()
            self.samples.append(Sample(now_s, self._counts()))
            if len(self.samples) % _MEMORY_EVERY == 0:
                self.memory.append((now_s, resident_mb()))


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one fault: whether the daemon noticed it, and the seconds until its next good frame."""

    fault: InjectedFault
    noticed: bool
    recovery_s: float


def run_soak(options: SoakOptions) -> Table:
    """Run the daemon for the given time. Blocks."""
    uri = f"test://scene?fps=0&every_s={options.every_s:g}&hold_s={options.hold_s:g}&seed={options.seed}"
    config = load_config(
        None,
        {
            "source.uri": uri,
            "runtime.max_seconds": options.minutes * 60,
            "sinks.terminal": "off",
            "source.reconnect.lost_after_s": 1.0,
            "source.reconnect.frozen_after_s": 1.0,
        },
    )
    clock, stop, bundle = SystemClock(), threading.Event(), read_bundle(options.bundle)
    source = parse_source(uri)
    classifier = open_classifier(bundle, options.runtime, options.threads)
    try:
        opener = CameraOpener(source, config.source, bundle.manifest.classes, clock, stop)
        witness = Witness(clock, lambda: daemon.capture_counts)
        sinks = SinkGroup([witness], reader_gone=stop.set)
        daemon = assemble(config, source, bundle, classifier, sinks, clock, stop, opener)
        summary = daemon.run()
    finally:
        classifier.close()
    assert opener.drill is not None, "the source is a test camera"
    seen = look_back(opener.drill.faults, witness)
    return _table(options, config.source.max_age_s, summary, witness, seen)


def look_back(faults: Sequence[InjectedFault], witness: Witness) -> list[Seen]:
    """What became of the faults that were over before the end, with a good frame after each."""
    times = np.array(witness.good)
    found = []
    for fault, following in zip(faults, (*faults[1:], None), strict=True):
        if fault.ended_s is None:
            continue
        place = int(np.searchsorted(times, fault.ended_s))
        if place == len(times):
            continue
        since_s = fault.begun_s if fault.kind in _SINCE_BEGIN else fault.ended_s
        until_s = fault.ended_s + _MARGIN_S if following is None else min(fault.ended_s + _MARGIN_S, following.begun_s)
        noticed = _SIGNS[fault.kind](witness, fault.begun_s, max(until_s, times[place]))
        found.append(Seen(fault, noticed, float(times[place]) - since_s))
    return found


def _pauses(witness: Witness, begun_s: float, until_s: float) -> bool:
    inside = [begun_s, *_between(witness.frames, begun_s, until_s), until_s]
    return bool(np.diff(inside).max() >= _GAP_S)


def _too_old(witness: Witness, begun_s: float, until_s: float) -> bool:
    return _rises(lambda counts: counts.too_old, witness, begun_s, until_s) or _pauses(witness, begun_s, until_s)


def _repeats(witness: Witness, begun_s: float, until_s: float) -> bool:
    return _rises(lambda counts: counts.repeated, witness, begun_s, until_s)


def _is_dark(witness: Witness, begun_s: float, until_s: float) -> bool:
    return len(_between(witness.dark, begun_s, until_s)) > 0


def _between(moments: array[float], begun_s: float, until_s: float) -> array[float]:
    return moments[bisect_left(moments, begun_s) : bisect_right(moments, until_s)]


def _refuses(*reasons: str) -> Callable[[Witness, float, float], bool]:
    def sign(witness: Witness, begun_s: float, until_s: float) -> bool:
        def refused(counts: CaptureCounts) -> int:
            return sum(count for reason, count in counts.refused if reason in reasons)

        return _rises(refused, witness, begun_s, until_s)

    return sign


def _rises(count: Callable[[CaptureCounts], int], witness: Witness, begun_s: float, until_s: float) -> bool:
    """Whether a count is higher after an interval than before it."""
    moments = [sample.now_s for sample in witness.samples]
    before, after = bisect_left(moments, begun_s) - 1, bisect_left(moments, until_s)
    first = count(witness.samples[before].counts) if before >= 0 else 0
    return count(witness.samples[min(after, len(moments) - 1)].counts) > first


_SIGNS: Mapping[FaultKind, Callable[[Witness, float, float], bool]] = MappingProxyType(
    {
        "slow": _too_old,
        "stall": _pauses,
        "freeze": _repeats,
        "black": _is_dark,
        "corrupt": _refuses("empty", "torn"),
        "unplug": _pauses,
        "wrong_size": _refuses("size"),
        "wrong_channels": _refuses("channels"),
    }
)
"""Of each kind, what the metrics show of it."""


def growth_mb_an_hour(memory: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope of resident memory over the settled part of the soak and its standard error, MB an hour."""
    settled = memory[round(len(memory) * _SETTLED) :]
    if len(settled) < 3:
        return float("nan"), float("nan")
    moments, resident = np.array(settled).T
    hours = (moments - moments.mean()) / 3600
    slope = float((hours * resident).sum() / (hours**2).sum())
    rest = resident - resident.mean() - slope * hours
    error = float(np.sqrt((rest**2).sum() / (len(settled) - 2) / (hours**2).sum()))
    return slope, error


def _table(options: SoakOptions, limit_s: float, summary: RunSummary, witness: Witness, seen: Sequence[Seen]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    measured = []
    for kind in (*FAULT_KINDS, "all"):
        of_kind = [one for one in seen if kind in (one.fault.kind, "all")]
        found = Measurement.of(kind, [one.recovery_s * 1000 for one in of_kind], 0)
        measured.append(found)
        _, _, *percentiles = found.cells
        noticed = sum(one.noticed for one in of_kind)
        rows.append((kind, len(of_kind), noticed, len(of_kind) - noticed, *percentiles))
    slope, error = growth_mb_an_hour(witness.memory)
    counts, ages = summary.counts, witness.ages_s
    lost = sum(state == "CAMERA_LOST" for _, state in witness.states)
    oldest = f"{max(ages):.3f} s" if ages else "none"
    notes = (
        f"{options.minutes:g} minutes, a fault of about {options.hold_s:g} s after {options.every_s:g} good ones, seed "
        f"{options.seed}; as many frames as the camera gives.",
        "times: from the fault's end (freeze, corrupt, wrong_size, wrong_channels: from its begin, since another "
        "opening cures these) to the next good frame that was judged.",
        f"{summary.frames} frames judged of {counts.captured}, {len(ages)} decisions; the oldest frame at a decision: "
        f"{oldest}, limit {limit_s:g} s.",
        f"the camera was lost {lost} times and opened again {counts.reconnects} times; ended as "
        f"{witness.states[-2][1] if len(witness.states) > 1 else 'nothing'}.",
        f"resident memory: {slope:+.2f} ± {2 * error:.2f} MB an hour after the first fifth, this record included.",
    )
    return Table("soak", _COLUMNS, tuple(rows), notes, tuple(measured))


_COLUMNS = ("fault", "injected", "noticed", "missed", "p50 ms", "p95 ms", "p99 ms", "max ms")
