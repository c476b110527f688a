"""The daemon on a camera that fails all the time: what it noticed of every fault, and how soon it was well again.

The daemon is that of `smartbin run`, with its store, its pictures and its page; its source is `test://scene`, whose
faults are known one by one, at as many frames a second as there can be.
"""

from __future__ import annotations

import sys
import threading
import urllib.request
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.local_broker import free_port
from benchmarks.own_process import resident_mb
from benchmarks.report import Cell, Measurement, Table
from benchmarks.soak_record import Record, Sample, Tally, look_back
from device.capture import CaptureCounts
from device.clock import Clock, SystemClock
from device.config import load_config_with_origins
from device.events import Event, FrameView, Lifecycle, Session
from device.fault_camera import InjectedFault
from device.fault_plan import FAULT_KINDS
from device.opening import CameraOpener
from device.reload import Reloader, prepare
from device.run_command import run_daemon
from device.status import BinStatus
from device.store.reader import EventReader
from smartbin.bundle import read_bundle
from smartbin.runtime import RuntimeName

SAMPLE_S, SCRAPE_S = 0.1, 2.0
_JUST_NOW_S = 1.0  # a fault that nobody was told of yet may have begun in it
_MEMORY_EVERY = 50  # samples
_SETTLED, _SETTLED_LONG = 0.2, 0.5  # of the soak: memory before it does not count as growth


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


class Witness:
    """A sink that judges every fault by what the daemon told, and samples what it counts in a thread of its own."""

    def __init__(
        self,
        clock: Clock,
        counts: Callable[[], CaptureCounts],
        faults: Callable[[], Sequence[InjectedFault]],
        metrics: str | None = None,
    ) -> None:
        """`metrics`: an address that is read every few seconds, as Prometheus would."""
        self._clock, self._counts, self._faults, self._metrics = clock, counts, faults, metrics
        self._done, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._record = Record()
        self._judged = self.scrapes = self.failed_scrapes = 0
        self.seen = {kind: Tally() for kind in FAULT_KINDS}
        self.memory = array("d"), array("d")
        self.blocks = array("q")
        self.decisions, self.oldest_s = 0, 0.0
        self.lost, self.newest_states = 0, deque[Lifecycle](maxlen=2)

    def start(self, session: Session) -> None:
        """Begin to sample."""
        self._thread.start()

    def event(self, event: Event) -> None:
        """A change of lifecycle, or a decision: how old its frame is."""
        if event.lifecycle is not None:
            self.newest_states.append(event.lifecycle)
            self.lost += event.lifecycle == "CAMERA_LOST"
        if event.age_ms is not None:
            self.decisions += 1
            self.oldest_s = max(self.oldest_s, event.age_ms / 1000)

    def frame(self, view: FrameView) -> None:
        """When, and in which light."""
        now_s = self._clock.now_s()
        with self._lock:
            self._record.frames.append(now_s)
            if view.light != "too_bright":
                (self._record.good if view.light == "ok" else self._record.dark).append(now_s)

    def close(self) -> None:
        """End the sampling, and judge the last faults."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.catch_up(over=True)

    @property
    def held(self) -> int:
        """How many moments it remembers."""
        return len(self._record)

    def sample(self) -> None:
        """Note what the daemon counts now."""
        sample = Sample(self._clock.now_s(), self._counts())
        with self._lock:
            self._record.samples.append(sample)

    def catch_up(self, *, over: bool = False) -> None:
        """Judge the faults after which another one has begun, and a good frame came; forget what was before these.

        With `over` nothing will come any more: what did not end, or had no good frame after it, is left out.
        """
        now_s = self._clock.now_s()
        faults = [fault for fault in self._faults() if fault.number > self._judged]
        self.sample()
        with self._lock:
            if not faults:
                self._record.forget(now_s - _JUST_NOW_S)
            for fault, following in zip(faults, (*faults[1:], None), strict=False):
                seen = look_back(fault, following, self._record) if following is not None or over else None
                if seen is not None:
                    self.seen[fault.kind].add(seen)
                elif not over:
                    self._record.forget(fault.begun_s)
                    return
                self._judged += 1

    def _scrape(self) -> None:
        if self._metrics is None:
            return
        self.scrapes += 1
        try:
            with urllib.request.urlopen(self._metrics, timeout=SCRAPE_S) as answer:
                answer.read()
        except OSError:
            self.failed_scrapes += 1

    def _sample(self) -> None:
        taken = 0
        while not self._done.wait(SAMPLE_S):
            self.sample()
            taken += 1
            if taken % _MEMORY_EVERY == 0:
                self.catch_up()
                self._scrape()
                moments_s, resident = self.memory
                moments_s.append(self._clock.now_s())
                resident.append(resident_mb())
                self.blocks.append(sys.getallocatedblocks())


def run_soak(options: SoakOptions) -> Table:
    """Run the daemon for the given time, with its store, its pictures and its page. Blocks."""
    clock, stop = SystemClock(), threading.Event()
    with TemporaryDirectory(prefix="smartbin-bench-") as folder:
        config, origins = load_config_with_origins(None, _settings(options, Path(folder)))
        setup = prepare(config, origins, bundle=read_bundle(options.bundle))
        opener = CameraOpener(setup.source, config.source, setup.bundle.manifest.classes, clock, stop)
        assert opener.drill is not None, "the source is a test camera"
        drill, status = opener.drill, BinStatus(clock)
        address = f"http://{config.page.host}:{config.page.port}/metrics"
        witness = Witness(clock, lambda: status.counts, lambda: drill.faults, address)
        with Reloader(lambda: (config, origins)) as reloader:
            ended = run_daemon(setup, clock, stop, reloader, opener=opener, watching=[witness], status=status)
        if ended.failure is not None:
            raise ended.failure
        with EventReader(config.store.paths) as reader:
            stored = reader.latest(1)[0].id  # events are numbered from 1
    return _table(options, config.source.max_age_s, status, witness, stored)


def _settings(options: SoakOptions, folder: Path) -> dict[str, object]:
    uri = f"test://scene?fps=0&every_s={options.every_s:f}&hold_s={options.hold_s:f}&seed={options.seed}"
    return {
        "source.uri": uri,
        "source.reconnect.lost_after_s": 1.0,
        "source.reconnect.frozen_after_s": 1.0,
        "runtime.runtime": options.runtime,
        "runtime.threads": options.threads,
        "runtime.max_seconds": options.minutes * 60,
        "sinks.terminal": "off",
        "store.folder": str(folder / "store"),
        "page.enabled": True,
        "page.port": free_port(),
    }


def growth_mb_an_hour(moments_s: Sequence[float], resident_mb: Sequence[float], after: float) -> tuple[float, float]:
    """Slope of resident memory once the part `after` of the soak is over, and its standard error, MB an hour."""
    first = round(len(moments_s) * after)
    moments, resident = np.array(moments_s[first:]), np.array(resident_mb[first:])
    if len(moments) < 3:
        return float("nan"), float("nan")
    hours = (moments - moments.mean()) / 3600
    slope = float((hours * resident).sum() / (hours**2).sum())
    rest = resident - resident.mean() - slope * hours
    error = float(np.sqrt((rest**2).sum() / (len(moments) - 2) / (hours**2).sum()))
    return slope, error


def at_tenths(values: Sequence[float]) -> list[float]:
    """The last value of each tenth: tells a step from a slope. Empty for fewer than ten."""
    return [values[tenth * len(values) // 10 - 1] for tenth in range(1, 11)] if len(values) >= 10 else []


def lowest_by_quarter(counts: Sequence[int]) -> list[int]:
    """The lowest of each quarter: what is left when garbage has just been collected. Empty for fewer than four."""
    size = len(counts) // 4
    return [min(counts[quarter * size : (quarter + 1) * size]) for quarter in range(4)] if size else []


def _table(options: SoakOptions, limit_s: float, status: BinStatus, witness: Witness, stored: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    measured = []
    for kind in (*FAULT_KINDS, "all"):
        tallies = [tally for name, tally in witness.seen.items() if kind in (name, "all")]
        found = Measurement.of(kind, [one_s * 1000 for tally in tallies for one_s in tally.recoveries_s], 0)
        measured.append(found)
        _, _, *percentiles = found.cells
        injected, noticed = len(found.samples_ms), sum(tally.noticed for tally in tallies)
        rows.append((kind, injected, noticed, injected - noticed, *percentiles))
    (slope, error), (late_slope, late_error) = (
        growth_mb_an_hour(*witness.memory, after) for after in (_SETTLED, _SETTLED_LONG)
    )
    _, resident = witness.memory
    at_end = f"{resident[-1]:.0f}" if resident else "unknown"
    tenths = ", ".join(f"{value:.2f}" for value in at_tenths(resident))
    fewest = ", ".join(map(str, lowest_by_quarter(witness.blocks)))
    counts = status.counts
    oldest = f"{witness.oldest_s:.3f} s" if witness.decisions else "none"
    notes = (
        f"{options.minutes:g} minutes, a fault of about {options.hold_s:g} s after {options.every_s:g} good ones, seed "
        f"{options.seed}; as many frames as the camera gives.",
        "times: from the fault's end (freeze, corrupt, wrong_size, wrong_channels: from its begin, since another "
        "opening cures these) to the next good frame that was judged.",
        f"{status.frames} frames judged of {counts.captured}, {witness.decisions} decisions; the oldest frame at a "
        f"decision: {oldest}, limit {limit_s:g} s.",
        f"the camera was lost {witness.lost} times and opened again {counts.reconnects} times; ended as "
        f"{witness.newest_states[0] if len(witness.newest_states) > 1 else 'nothing'}.",
        f"event store and page are on: {stored} events written; /metrics read {witness.scrapes} times, "
        f"{witness.failed_scrapes} of them without an answer within {SCRAPE_S:g} s.",
        f"resident memory: {slope:+.2f} ± {2 * error:.2f} MB an hour after the first fifth, "
        f"{late_slope:+.2f} ± {2 * late_error:.2f} in the second half; {at_end} MB at the end.",
        f"at the end of each tenth, MB: {tenths or 'too short to say'}.",
        f"blocks of memory that Python holds, the fewest in each quarter: {fewest or 'too short to say'}.",
    )
    return Table("soak", _COLUMNS, tuple(rows), notes, tuple(measured))


_COLUMNS = ("fault", "injected", "noticed", "missed", "p50 ms", "p95 ms", "p99 ms", "max ms")
