"""What the bin does at the moment and has done so far, for whoever asks: the metrics, the health checks, the page.

The main loop alone writes, as a sink and through the timer of its stages; any thread reads. Every field is replaced
whole or counted up in place, so nobody waits for anybody: a reader may see one frame's numbers beside the next one's.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from device.capture import CaptureCounts
from device.clock import Clock
from device.decision import Decision
from device.events import Event, FrameView, Lifecycle, Session
from smartbin.latency import StageTimer

BUCKETS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
_NEWEST_DECISIONS = 20
_UNCERTAIN_OVER = 100


class Histogram:
    """How often a stage took how long; counts only go up."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        self.total_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one run."""
        self.counts[bisect_left(BUCKETS_MS, duration_ms)] += 1
        self.total_ms += duration_ms


class CountingTimer(StageTimer):
    """The timer of the stages, which also counts every run for good."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(clock=clock)
        self.histograms: dict[str, Histogram] = {}

    def add(self, name: str, duration_ms: float) -> None:
        """Add one run of a stage."""
        super().add(name, duration_ms)
        if name not in self.histograms:
            self.histograms[name] = Histogram()
        self.histograms[name].add(duration_ms)


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Somebody's queue: what waits in it, what was lost for want of room, and how often its owner failed."""

    name: str
    waiting: int
    dropped: int
    failures: int
    failing: str = ""
    """The error, while it is failing."""


@dataclass(frozen=True, slots=True)
class Told:
    """A decision and the time of day, milliseconds since 1970."""

    time_ms: int
    decision: Decision


class BinStatus:
    """A sink that remembers the newest of everything. `timer` is for the pipeline."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.timer = CountingTimer()
        self.started_s = clock.now_s()
        self.session: Session | None = None
        self.lifecycle: Lifecycle = "STARTING"
        self.reason: str | None = None
        self.view: FrameView | None = None
        self.frames = 0
        self.told: deque[Told] = deque(maxlen=_NEWEST_DECISIONS)
        self.decisions: Counter[tuple[str, str]] = Counter()
        self._uncertain: deque[bool] = deque(maxlen=_UNCERTAIN_OVER)
        self._view_s = self.started_s
        self._capture: Callable[[], CaptureCounts] = CaptureCounts
        self._without_progress_s: Callable[[], float] = lambda: 0.0
        self._queues: Callable[[], list[QueueCounts]] = list

    def watch(
        self,
        capture: Callable[[], CaptureCounts],
        without_progress_s: Callable[[], float],
        queues: Callable[[], list[QueueCounts]],
    ) -> None:
        """Ask these for what is not told: called by readers, from their threads."""
        self._capture, self._without_progress_s, self._queues = capture, without_progress_s, queues

    def start(self, session: Session) -> None:
        """What runs: the model is loaded."""
        self.session = session

    def event(self, event: Event) -> None:
        """A decision, or a change of the daemon's state."""
        if event.lifecycle is not None:
            self.lifecycle, self.reason = event.lifecycle, event.reason
        decision = event.decision
        if decision is not None:
            said = decision.label or "" if decision.kind == "accepted" else ""
            self.decisions[decision.kind, said] += 1
            self._uncertain.append(decision.kind == "uncertain")
            self.told.append(Told(round(event.time.timestamp() * 1000), decision))

    def frame(self, view: FrameView) -> None:
        """The newest frame; it is kept, not copied."""
        self._view_s = self._clock.now_s()
        self.view = view
        self.frames += 1

    def close(self) -> None:
        """Let go of the picture."""
        self.view = None

    @property
    def counts(self) -> CaptureCounts:
        """What became of the frames of the camera."""
        return self._capture()

    @property
    def queues(self) -> list[QueueCounts]:
        """Every queue there is."""
        return self._queues()

    @property
    def without_frame_s(self) -> float:
        """How long the newest frame has been the newest."""
        return self._clock.now_s() - self._view_s

    @property
    def without_progress_s(self) -> float:
        """How long the main loop has not come round."""
        return self._without_progress_s()

    @property
    def uptime_s(self) -> float:
        """How long it has been running."""
        return self._clock.now_s() - self.started_s

    @property
    def uncertain_share(self) -> float | None:
        """The uncertain part of the newest hundred decisions; None before the first."""
        recent = self._uncertain.copy()
        return sum(recent) / len(recent) if recent else None
