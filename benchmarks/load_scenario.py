"""The daemon at 30 frames a second of 1280 × 720 with all that it serves: events kept, a broker told, a page looked at.

One run of `smartbin run`'s own code a row, in a process of its own; only its camera is staged. Broker and viewer are
processes of their own, too, so that the CPU time of a row is the daemon's, with its page and its sinks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, get_args

from benchmarks.local_broker import free_port, local_broker, mosquitto
from benchmarks.own_process import environment, resident_mb
from benchmarks.paced_camera import PacedCamera, photo_recording, scene_recording
from benchmarks.page_viewer import Seen
from benchmarks.photos import photos_below
from benchmarks.report import LATENCY_COLUMNS, Cell, Measurement, Table
from benchmarks.side_process import SideProcess
from device.clock import SystemClock
from device.config import DeviceConfig, load_config
from device.events import Event, FrameView, Session
from device.reload import Reloader, Setup
from device.run_command import run_daemon
from device.sinks.outbox import Outbox
from device.sources import DeviceSource
from device.watched_camera import WatchedCamera, WatchLimits
from smartbin.bundle import Bundle, read_bundle
from smartbin.classifier import Classifier
from smartbin.errors import InferenceError
from smartbin.runtime import RuntimeName, open_classifier

FPS = 30.0
_PHOTOS = 24
_END_S = 30.0

Mode: TypeAlias = Literal["item", "every_frame"]
ALL_MODES: tuple[Mode, ...] = get_args(Mode)
_NAMES: dict[Mode, str] = {"item": "items", "every_frame": "every frame"}


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """`seconds`: length of a row, without what goes before; `photos`: for every frame, None: the built-in scene.

    A row is run `rounds` times, in turn with the others, so that what else the machine does falls on all of them.
    After `settle_s` the page's libraries are loaded and the broker is connected to: only then is anything counted.
    """

    bundle: Path
    runtime: RuntimeName
    threads: int
    photos: Path | None
    names: Path | None
    seconds: float
    rounds: int = 2
    settle_s: float = 6.0


@dataclass(frozen=True, slots=True)
class Served:
    """What the daemon does beside judging, its event store apart, which is always on."""

    name: str
    mqtt: bool = False
    page: bool = False
    viewers: int = 0


SERVED = (
    Served("nothing more"),
    Served("MQTT", mqtt=True),
    Served("page, closed", page=True),
    Served("page, open", page=True, viewers=1),
    Served("page, open four times", page=True, viewers=4),
    Served("page, open, and MQTT", mqtt=True, page=True, viewers=1),
)


@dataclass(frozen=True, slots=True)
class _Row:
    mode: Mode
    served: Served

    @property
    def name(self) -> str:
        return f"{_NAMES[self.mode]}: {self.served.name}"


@dataclass(slots=True)
class _Turn:
    """What was measured in one turn of a row. `unsent` are events that the broker never had."""

    ages_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    seconds: float = 0.0
    frames: int = 0
    dropped: int = 0
    memory_mb: float = 0.0
    unsent: int = 0
    seen: list[Seen] = field(default_factory=list)


def run_load(options: LoadOptions, modes: Sequence[Mode] = ALL_MODES, all_served: Sequence[Served] = SERVED) -> Table:
    """Run every row in turn. Blocks for minutes. Without a Mosquitto here the rows with MQTT are left out."""
    program = mosquitto()
    rows = [_Row(mode, served) for mode in modes for served in all_served if program is not None or not served.mqtt]
    turns: dict[_Row, list[_Turn]] = {row: [] for row in rows}
    for _ in range(options.rounds):
        for row in rows:
            turns[row].append(_run(row, options, program))
    measured = [Measurement.of(row.name, [age for turn in turns[row] for age in turn.ages_ms], 0) for row in rows]
    cells = [_cells(row, found, turns[row]) for row, found in zip(rows, measured, strict=True)]
    notes = (
        f"{FPS:g} frames a second of 1280 × 720, {options.threads} threads; every row in turn, {options.rounds} times "
        f"{options.seconds / options.rounds:g} s after {options.settle_s:g} s that do not count, in a process of its "
        "own. Events are kept in every row.",
        "times: age of the frame when the decision on it falls, from the moment at which the camera took it.",
        "CPU: share of one core of the daemon's process, page and sinks included; the staged camera hands out pictures "
        "that lie in memory, and each is looked at as a live camera's are. memory: resident, without what making those "
        "pictures took.",
        "page, open: a viewer takes the live picture and the stream of states, as the page does in a browser; "
        "pictures/s: how many one viewer gets.",
        *(() if program is not None else ("no rows with MQTT: mosquitto is not installed.",)),
    )
    return Table("load", _COLUMNS, tuple(cells), notes, tuple(measured))


_COLUMNS = ("row", "beside", *LATENCY_COLUMNS, "frames", "dropped", "CPU %", "memory MB", "pictures/s", "unsent")


def _cells(row: _Row, found: Measurement, turns: list[_Turn]) -> tuple[Cell, ...]:
    seconds, looks = sum(turn.seconds for turn in turns), [seen for turn in turns for seen in turn.seen]
    pictures = sum(seen.pictures for seen in looks) / sum(seen.seconds for seen in looks) if looks else None
    return (
        _NAMES[row.mode], row.served.name, *found.cells, sum(turn.frames for turn in turns),
        sum(turn.dropped for turn in turns), 100 * sum(turn.cpu_s for turn in turns) / seconds if seconds else None,
        max(turn.memory_mb for turn in turns), pictures,
        sum(turn.unsent for turn in turns) if row.served.mqtt else None,
    )  # fmt: skip


def _run(row: _Row, options: LoadOptions, program: str | None) -> _Turn:
    """One turn: broker and viewer around the daemon's process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="smartbin-bench-")))
        port = None
        if row.served.mqtt:
            assert program is not None, "rows with MQTT are left out without a broker"
            port = stack.enter_context(local_broker(program, folder))
        overrides = _overrides(row, folder, options.settle_s + options.seconds / options.rounds, port)
        bin_ = stack.enter_context(SideProcess(partial(StagedBin.open, options, row.mode)))
        bin_.wait_until_started()
        address = f"http://127.0.0.1:{overrides['page.port']}"
        viewers = [stack.enter_context(_viewer(address)) for _ in range(row.served.viewers)]
        turn = bin_.ask(StagedBin.run, overrides, options.settle_s)
        turn.seen = [seen() for seen in viewers]
        return turn


@contextmanager
def _viewer(address: str) -> Iterator[Callable[[], Seen]]:
    """Somebody who looks until the bin ends; what is given tells then what was seen."""
    command = [sys.executable, "-m", "benchmarks.page_viewer", address]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:

        def ended() -> Seen:
            told, _ = process.communicate(timeout=_END_S)
            if process.returncode != 0:
                raise InferenceError("the viewer of the page failed", where=address, found=process.returncode)
            return Seen(**json.loads(told))

        try:
            yield ended
        finally:
            process.kill()


def _overrides(row: _Row, folder: Path, seconds: float, broker_port: int | None) -> dict[str, object]:
    return {
        "decision.mode": row.mode,
        "store.enabled": "on",
        "store.folder": str(folder / "store"),
        "sinks.terminal": "off",
        "sinks.mqtt.enabled": row.served.mqtt,
        "sinks.mqtt.host": "127.0.0.1",
        "sinks.mqtt.port": broker_port,
        "sinks.mqtt.buffer_file": str(folder / "mqtt.db"),
        "page.enabled": row.served.page,
        "page.port": free_port() if row.served.page else None,
        "runtime.max_seconds": seconds,
    }


class StagedBin:
    """The daemon with a staged camera, in a process of its own."""

    def __init__(self, bundle: Bundle, classifier: Classifier, photos: Sequence[Path]) -> None:
        self._bundle, self._classifier = bundle, classifier
        before_mb = resident_mb()
        self._recording = photo_recording(photos) if photos else scene_recording()
        self._staged_mb = resident_mb() - before_mb

    @classmethod
    def open(cls, options: LoadOptions, mode: Mode) -> StagedBin:
        """Open the model and make the pictures."""
        bundle = read_bundle(options.bundle)
        classifier = open_classifier(bundle, options.runtime, options.threads)
        given = options.photos if mode == "every_frame" else None
        return cls(bundle, classifier, photos_below(given, _PHOTOS, options.names) if given is not None else ())

    def run(self, overrides: dict[str, object], settle_s: float) -> _Turn:
        """One run, until its time is up. Raises what ended it before."""
        config = load_config(None, overrides)
        clock, stop, cameras = SystemClock(), threading.Event(), list[PacedCamera]()

        def opener() -> WatchedCamera:
            cameras.append(PacedCamera(self._recording, FPS, clock, stop))
            return WatchedCamera(cameras[-1], WatchLimits(frozen_after_s=0.0))

        watch = _Watch(settle_s, lambda: sum(camera.lost for camera in cameras))
        setup = Setup(config, {}, DeviceSource("paced camera"), self._bundle, self._classifier)
        with Reloader(lambda: (config, {})) as reloader:
            ended = run_daemon(setup, clock, stop, reloader, opener=opener, watching=[watch])
        if ended.failure is not None:
            raise ended.failure
        turn = watch.turn
        turn.memory_mb -= self._staged_mb
        turn.unsent = _waiting(config) if config.sinks.mqtt.enabled else 0
        return turn


class _Watch:
    """A sink: what becomes of the frames once the bin has settled. Numbers of frames that are left out were dropped."""

    def __init__(self, settle_s: float, lost: Callable[[], int]) -> None:
        self._settle_s, self._lost, self._settled_s = settle_s, lost, float("inf")
        self._began: tuple[float, float, int, int] | None = None
        self.turn = _Turn()

    def start(self, session: Session) -> None:
        """The main loop begins."""
        self._settled_s = time.monotonic() + self._settle_s

    def event(self, event: Event) -> None:
        """Note how old the frame of a decision was."""
        if self._began is not None and event.age_ms is not None:
            self.turn.ages_ms.append(event.age_ms)

    def frame(self, view: FrameView) -> None:
        """Count it and those that are missing before it, and take the time."""
        now_s, cpu_s = time.monotonic(), time.process_time()
        if self._began is None:
            if now_s >= self._settled_s:
                self._began = now_s, cpu_s, view.seq, self._lost()
            return
        begun_s, begun_cpu_s, seq, lost = self._began
        turn = self.turn
        turn.frames += 1
        turn.seconds, turn.cpu_s = now_s - begun_s, cpu_s - begun_cpu_s
        turn.dropped = view.seq - seq - turn.frames + self._lost() - lost

    def close(self) -> None:
        """Take the memory, while everything is still open."""
        self.turn.memory_mb = self.turn.memory_mb or resident_mb()


def _waiting(config: DeviceConfig) -> int:
    """Events that the broker has not confirmed."""
    path = config.sinks.mqtt.buffer_file
    assert path is not None, "named in the overrides"
    outbox = Outbox(path, config.sinks.mqtt.buffer_events)
    try:
        return len(outbox)
    finally:
        outbox.close()
