"""The daemon itself on a paced camera of 1280 × 720: how old a frame is when its decision falls, and at what cost.

The daemon is put together by the code of `smartbin run`; only its camera is staged. Sinks are a file of JSON lines, as
in a bin without a screen, and that with the live view, which is drawn into nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, get_args

import numpy as np
from rich.console import Console

from benchmarks.conditions import MachineState, read_state
from benchmarks.own_process import resident_mb
from benchmarks.paced_camera import PacedCamera, Recording, photo_recording, scene_recording
from benchmarks.photos import photos_below
from benchmarks.report import LATENCY_COLUMNS, Cell, Measurement, Table
from device.assembly import assemble
from device.clock import Clock, SystemClock
from device.config import load_config
from device.events import Event, FrameView, Session
from device.machine import ThisMachine
from device.run_command import open_sinks
from device.sinks import SinkGroup
from device.sources import DeviceSource
from device.summary import RunSummary
from smartbin.bundle import Bundle, read_bundle
from smartbin.classifier import Classifier
from smartbin.runtime import RuntimeName, open_classifier

IDLE_S = 5.0
"""An item comes every so often in the idle-paced row."""
_IDLE_ITEMS = 4
_PHOTOS = 24
_SUSTAINED_FPS = 30.0
_UNCOUNTED = 10  # decisions at the start of a row


Sinks: TypeAlias = Literal["none", "JSON lines", "JSON lines, live view"]
_JSON: Sinks = "JSON lines"


@dataclass(frozen=True, slots=True)
class EndToEndOptions:
    """`seconds` is the length of a row, `minutes` that of the sustained one; `photos` None: the built-in scene."""

    bundle: Path
    runtime: RuntimeName
    threads: int
    photos: Path | None
    names: Path | None
    fps: Sequence[float]
    seconds: float
    minutes: float


@dataclass(frozen=True, slots=True)
class _Row:
    """What is to be run: every frame a decision, or (`items`) one for each item that comes."""

    name: str
    fps: float
    seconds: float
    recording: Recording
    sinks: Sinks
    items: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was seen of a row. `cpu_share` is of one core, `growth_mb` from a tenth of the row to its end."""

    row: _Row
    ages_ms: list[float]
    summary: RunSummary
    lost: int
    cpu_share: float
    memory_mb: float
    growth_mb: float
    state: MachineState


def run_end_to_end(options: EndToEndOptions) -> Table:
    """Run the daemon at every rate, with and without sinks, idle-paced and sustained. Blocks for minutes."""
    bundle = read_bundle(options.bundle)
    classifier = open_classifier(bundle, options.runtime, options.threads)
    classifier.classify(np.zeros((1, classifier.size, classifier.size, 3), np.uint8))
    try:
        outcomes = [_run(row, bundle, classifier) for row in _rows(options)]
    finally:
        classifier.close()
    measured = [
        Measurement.of(_name(item.row), item.ages_ms[_counted(item.row) :], _counted(item.row)) for item in outcomes
    ]
    cells = [_cells(outcome, found) for outcome, found in zip(outcomes, measured, strict=True)]
    first, last = _ends(outcomes[-1], measured[-1])
    manifest = bundle.manifest
    notes = (
        f"{manifest.name} {manifest.precision} on {classifier.runtime}, {options.threads} threads; times: age of the "
        "frame when the decision on it falls, from the moment at which the camera took it.",
        f"every frame: each is classified and decided; items: the daemon's item mode; idle: one every {IDLE_S:g} s.",
        "dropped: overwritten by a newer one, too old, or lost in the camera; CPU: share of one core, with the staged "
        "camera; growth: of resident memory, from a tenth of the row to its end.",
        f"sustained for {options.minutes:g} minutes: p50 {first:.4g} ms in its first fifth, {last:.4g} ms in its last.",
    )
    return Table("end_to_end", _COLUMNS, tuple(cells), notes, tuple(measured))


_COLUMNS = (
    "row", "fps", "sinks", *LATENCY_COLUMNS, "classify p50 ms", "frames", "dropped", "CPU %", "memory MB", "growth MB",
    "°C", "CPU MHz",
)  # fmt: skip


def _rows(options: EndToEndOptions) -> list[_Row]:
    scene = scene_recording()
    shown = scene
    if options.photos is not None:
        shown = photo_recording(photos_below(options.photos, _PHOTOS, options.names))
    rows = [_Row("every frame", fps, options.seconds, shown, sinks) for fps in options.fps for sinks in get_args(Sinks)]
    rows.append(_Row("items", _SUSTAINED_FPS, options.seconds, scene, _JSON, items=True))
    idle_s = min(options.seconds * 2, IDLE_S * _IDLE_ITEMS)
    rows.append(_Row("idle", _SUSTAINED_FPS, idle_s, scene_recording(IDLE_S), _JSON, items=True))
    rows.append(_Row("sustained", _SUSTAINED_FPS, options.minutes * 60, shown, _JSON))
    return rows


def _name(row: _Row) -> str:
    return f"{row.name}, {row.fps:g} fps, sinks: {row.sinks}"


def _counted(row: _Row) -> int:
    return 0 if row.items else _UNCOUNTED


class _AgeSink:
    """Notes how old the decided frame is, and the memory a tenth into the row."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._settled_s = clock, clock.now_s() + seconds / 10
        self.ages_ms: list[float] = []
        self.settled_mb = resident_mb()

    def start(self, session: Session) -> None:
        """What runs is known."""

    def event(self, event: Event) -> None:
        """The judges are given the time at which a frame was taken as their now."""
        if event.decision is not None:
            self.ages_ms.append((self._clock.now_s() - event.decision.decided_s) * 1000)

    def frame(self, view: FrameView) -> None:
        """Look at the memory once the row has settled."""
        if self._settled_s and self._clock.now_s() >= self._settled_s:
            self.settled_mb, self._settled_s = resident_mb(), 0.0

    def close(self) -> None:
        """Nothing is held."""


def _run(row: _Row, bundle: Bundle, classifier: Classifier) -> _Outcome:
    clock, stop = SystemClock(), threading.Event()
    age = _AgeSink(clock, row.seconds)
    cameras: list[PacedCamera] = []

    def opener() -> PacedCamera:
        cameras.append(PacedCamera(row.recording, row.fps, clock, stop))
        return cameras[-1]

    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(nowhere))
        events = Path(stack.enter_context(TemporaryDirectory(prefix="smartbin-bench-"))) / "events.jsonl"
        config = load_config(
            None,
            {
                "decision.mode": "item" if row.items else "every_frame",
                "sinks.json_lines": "" if row.sinks == "none" else str(events),
                "sinks.terminal": "live" if row.sinks.endswith("live view") else "off",
                "runtime.max_seconds": row.seconds,
            },
        )
        console = Console(file=nowhere, force_terminal=True, width=120)
        sinks = SinkGroup([age, *open_sinks(config, console)], reader_gone=stop.set)
        source = DeviceSource("paced camera")
        daemon = assemble(config, source, bundle, classifier, sinks, clock, stop, opener)
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        summary = daemon.run()
        cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - begun_s)
    now_mb = resident_mb()
    lost = sum(camera.lost for camera in cameras)
    growth_mb = now_mb - age.settled_mb
    return _Outcome(row, age.ages_ms, summary, lost, cpu_share, now_mb, growth_mb, read_state(ThisMachine()))


def _cells(outcome: _Outcome, found: Measurement) -> tuple[Cell, ...]:
    row, counts = outcome.row, outcome.summary.counts
    classify = dict(outcome.summary.stages).get("classify")
    return (
        row.name, row.fps, row.sinks, *found.cells, classify.p50_ms if classify else None,
        outcome.summary.frames, counts.overwritten + counts.too_old + outcome.lost, outcome.cpu_share * 100,
        outcome.memory_mb, outcome.growth_mb, outcome.state.temperature_c, outcome.state.cpu_mhz,
    )  # fmt: skip


def _ends(outcome: _Outcome, found: Measurement) -> tuple[float, float]:
    """Median age in the first and in the last fifth of a row: a machine that gets hot slows down."""
    samples = found.samples_ms or (float("nan"),)
    fifth = max(1, len(samples) // 5)
    return float(np.median(samples[:fifth])), float(np.median(samples[-fifth:]))
