"""The main loop: frames from the capture thread, through the pipeline, to the sinks, until there is a reason to stop.

Lifecycle: STARTING -> RUNNING <-> CAMERA_LOST -> STOPPING, told on change only.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from device.capture import Capture, CaptureCounts, ReconnectSettings
from device.clock import Clock
from device.decision import Decision, JudgeState
from device.events import Event, FrameView, Lifecycle, Session
from device.frame import Frame
from device.pipeline import Pipeline, Step
from device.region import Region
from device.sinks import SinkGroup
from device.summary import RunSummary, Tally
from device.watchdog import Watchdog
from smartbin.errors import CameraError

_log = logging.getLogger(__name__)
_TAKE_S = 0.1  # how long the loop waits for a frame before it looks at everything else
_FPS_FRAMES = 30
_STAGES_EVERY_S = 1.0
_PATIENCE_S = 30.0
_BUSY: frozenset[JudgeState] = frozenset({"ARRIVING", "JUDGING", "DECIDED", "CLEARING"})  # an item is there


class Daemon:
    """Runs until the recording ends, `stop` is set, time is up, or an error ends it."""

    def __init__(
        self,
        capture: Capture,
        pipeline: Pipeline,
        sinks: SinkGroup,
        watchdog: Watchdog,
        session: Session,
        *,
        clock: Clock,
        stop: threading.Event,
        live: bool,
        reconnect: ReconnectSettings,
        max_seconds: float | None = None,
        reload_due: Callable[[], bool] = lambda: False,
    ) -> None:
        """`reload_due`: whether another setup waits. The run ends for it once no item is there, or after a while."""
        self._capture, self._pipeline, self._sinks, self._watchdog = capture, pipeline, sinks, watchdog
        self._session, self._clock, self._stop = session, clock, stop
        self._live, self._reconnect, self._max_seconds = live, reconnect, max_seconds
        self._reload_due = reload_due
        self._due_s: float | None = None
        self._tally = Tally()
        self._lifecycle: Lifecycle | None = None
        self._begun_s = self._last_frame_s = self._stages_s = clock.now_s()
        self._times_s: deque[float] = deque(maxlen=_FPS_FRAMES)
        self._stage_ms: tuple[tuple[str, float], ...] = ()
        self.camera_hangs = False

    def run(self) -> RunSummary:
        """Run to the end; `CameraError`, `InferenceError` and all that ends it pass through, with everything closed."""
        self._begun_s = self._last_frame_s = self._clock.now_s()
        try:
            self._sinks.start(self._session)
            self._enter("STARTING")
            self._watchdog.start()
            self._capture.start()
            self._loop()
        finally:
            self._watchdog.close()
            self._enter("STOPPING")
            self.camera_hangs = not self._capture.close()
            self._pipeline.close()
            self._sinks.close()
        return self.summary()

    def summary(self) -> RunSummary:
        """What has been done so far."""
        seconds = self._clock.now_s() - self._begun_s
        return self._tally.summary(
            seconds, self._capture.counts, self._pipeline.timer.summaries(), self._sinks.failures, self._sinks.counts()
        )

    @property
    def capture_counts(self) -> CaptureCounts:
        """What became of the frames; any thread may ask."""
        return self._capture.counts

    def look_at(self, region: Region | None) -> None:
        """Look at another part of the picture from the next frame on; any thread may say so."""
        self._pipeline.look_at(region)

    @property
    def without_progress_s(self) -> float:
        """How long the main loop has not come round; any thread may ask."""
        return self._watchdog.unfed_s

    def _loop(self) -> None:
        while not self._stop.is_set() and not self._time_is_up() and not self._makes_way():
            frame = self._capture.take(_TAKE_S)
            self._watchdog.feed()
            if frame is not None:
                self._process(frame)
            elif self._capture.finished:
                if (last := self._pipeline.finish()) is not None:
                    self._tell(last)
                return
            else:
                self._look_for_camera()

    def _process(self, frame: Frame) -> None:
        now_s = self._clock.now_s()
        self._last_frame_s = now_s
        self._enter("RUNNING")
        if self._live:
            self._pipeline.timer.add("age", (now_s - frame.captured_s) * 1000)
        step = self._pipeline.step(frame)
        own_item = self._pipeline.judge.state == "WATCHING"
        self._times_s.append(self._clock.now_s())
        self._tally.frame(self._times_s[-1], frame.truth, own_item=own_item)
        if step.decision is not None:
            self._tell(step.decision, frame, step)
        self._sinks.frame(self._view(frame, step))

    def _tell(self, decision: Decision, frame: Frame | None = None, step: Step | None = None) -> None:
        self._tally.decision(decision)
        aged = frame if self._live else None
        event = Event(
            self._clock.wall(),
            "decision",
            decision=decision,
            origin=frame.origin if frame is not None else None,
            light=step.observation.light if step is not None else None,
            age_ms=(self._clock.now_s() - aged.captured_s) * 1000 if aged is not None else None,
            stage_ms=self._pipeline.timer.newest_ms(),
        )
        self._sinks.event(event)

    def _look_for_camera(self) -> None:
        """Without frames from a live camera: say so, and give up after the configured time."""
        without_s = self._clock.now_s() - self._last_frame_s
        if not self._live or without_s < self._reconnect.lost_after_s:
            return
        trouble = self._capture.trouble
        reason = trouble.what if trouble is not None else "no frame"
        self._enter("CAMERA_LOST", f"{self._session.source}: {reason}")
        if without_s >= self._reconnect.give_up_s:
            raise CameraError(
                "the camera gave up",
                where=self._session.source,
                found=f"{reason}; no frame for {without_s:.0f} s",
                fix="check cable and power; [source.reconnect] give_up_s says how long to wait",
            ) from trouble

    def _enter(self, lifecycle: Lifecycle, reason: str | None = None) -> None:
        if lifecycle == self._lifecycle:
            return
        self._lifecycle = lifecycle
        _log.log(logging.WARNING if lifecycle == "CAMERA_LOST" else logging.INFO, "%s %s", lifecycle, reason or "")
        self._sinks.event(Event(self._clock.wall(), "lifecycle", lifecycle=lifecycle, reason=reason))

    def _makes_way(self) -> bool:
        if not self._reload_due():
            return False
        now_s = self._clock.now_s()
        self._due_s = now_s if self._due_s is None else self._due_s
        return self._pipeline.judge.state not in _BUSY or now_s - self._due_s >= _PATIENCE_S

    def _time_is_up(self) -> bool:
        return self._max_seconds is not None and self._clock.now_s() - self._begun_s >= self._max_seconds

    def _view(self, frame: Frame, step: Step) -> FrameView:
        now_s = self._times_s[-1]
        if now_s - self._stages_s >= _STAGES_EVERY_S:
            self._stages_s = now_s
            self._stage_ms = tuple((name, stage.p50_ms) for name, stage in self._pipeline.timer.summaries().items())
        took_s = now_s - self._times_s[0]
        return FrameView(
            image=frame.image,
            seq=frame.seq,
            source=frame.source,
            state=self._pipeline.judge.state,
            item=self._pipeline.judge.item,
            light=step.observation.light,
            exposure=step.observation.exposure,
            presence=step.presence,
            prediction=step.observation.prediction,
            fps=(len(self._times_s) - 1) / took_s if took_s > 0 else 0.0,
            stage_ms=self._stage_ms,
            sharpness=step.observation.sharpness,
            region=self._pipeline.region,
        )
