"""The capture thread: it reads the camera and leaves the newest frame in a slot for the main loop.

A live camera runs on: a frame that was not taken in time is overwritten and counted. A recording waits until its frame
has been taken, so that none is lost. A live camera that is lost is opened again, with growing pauses; what ends the
thread for good reaches the main loop through `take`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from device.camera import Camera
from device.clock import Clock
from device.frame import Frame
from smartbin.errors import CameraError, SmartbinError

_log = logging.getLogger(__name__)
_JOIN_S = 0.5


class ReconnectSettings(BaseModel):
    """How a lost camera is opened again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_s: float = Field(default=0.5, gt=0, description="pause before the first try; it doubles with each")
    cap_s: float = Field(default=10.0, gt=0, description="longest pause")
    lost_after_s: float = Field(default=2.0, gt=0, description="without a frame for so long, the camera counts as lost")
    give_up_s: float = Field(
        default=60.0, gt=0, description="without a frame for so long, the daemon ends with exit code 4"
    )


@dataclass(frozen=True, slots=True)
class CaptureCounts:
    """What became of the frames."""

    captured: int = 0
    overwritten: int = 0
    too_old: int = 0
    reconnects: int = 0


class FrameSlot:
    """Holds at most one frame between two threads."""

    def __init__(self, *, wait_for_consumer: bool) -> None:
        self._changed = threading.Condition()
        self._wait_for_consumer = wait_for_consumer
        self._frame: Frame | None = None
        self._closed = False
        self.overwritten = 0

    def put(self, frame: Frame) -> bool:
        """Leave a frame; waits until the last one was taken where frames must not be lost. False once closed."""
        with self._changed:
            while self._wait_for_consumer and self._frame is not None and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self.overwritten += self._frame is not None
            self._frame = frame
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> Frame | None:
        """The frame, waiting up to `timeout_s` for one; None if none came or the slot is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout_s)
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Wake everybody: no more frames will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Closed and empty."""
        with self._changed:
            return self._closed and self._frame is None


class Capture:
    """Runs the capture thread. `take` is called by the main loop."""

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        *,
        live: bool,
        max_age_s: float,
        reconnect: ReconnectSettings,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._open_camera, self._live, self._max_age_s, self._reconnect = open_camera, live, max_age_s, reconnect
        self._clock, self._stop = clock, stop
        self._slot = FrameSlot(wait_for_consumer=not live)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._error: BaseException | None = None
        self._captured = self._reconnects = self._too_old = 0
        self.trouble: SmartbinError | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame, waiting up to `timeout_s`; raises what ended the capture thread, once its frames are taken.

        A live frame older than the limit is counted and refused.
        """
        frame = self._slot.take(timeout_s)
        if frame is None:
            if self._error is not None and self._slot.finished:
                raise self._error
            return None
        if self._live and self._clock.now_s() - frame.captured_s > self._max_age_s:
            self._too_old += 1
            return None
        return frame

    @property
    def finished(self) -> bool:
        """Whether no more frames will come: the recording is over, or capture was stopped."""
        return self._slot.finished

    @property
    def counts(self) -> CaptureCounts:
        """What became of the frames so far."""
        return CaptureCounts(self._captured, self._slot.overwritten, self._too_old, self._reconnects)

    def close(self) -> bool:
        """Stop the thread, which closes the camera; False if it hangs inside the camera and had to be left there."""
        self._stop.set()
        self._slot.close()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._keep_reading()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the main loop has to hear of it
            self._error = error
        finally:
            self._slot.close()

    def _keep_reading(self) -> None:
        """Read until the recording ends; a live camera that was lost is opened again, with growing pauses."""
        pause_s = self._reconnect.first_s
        while not self._stop.is_set():
            before = self._captured
            try:
                return self._read_one_camera()
            except CameraError as error:
                if not self._live or self._captured == 0:
                    raise
                self.trouble = error
            if self._captured > before:
                pause_s = self._reconnect.first_s
            if self._clock.wait(self._stop, pause_s):
                return None
            pause_s = min(2 * pause_s, self._reconnect.cap_s)
            self._reconnects += 1
        return None

    def _read_one_camera(self) -> None:
        camera = self._open_camera()
        try:
            while not self._stop.is_set():
                frame = camera.read()
                if frame is None:
                    return
                self._captured += 1
                if self._live and frame.seq != self._captured:  # numbers go on after a reconnect
                    frame = replace(frame, seq=self._captured)
                if not self._slot.put(frame):
                    return
        finally:
            camera.close()
