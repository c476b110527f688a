"""The capture thread: it reads the camera and leaves the newest frame in a slot for the main loop.

A live camera runs on: a frame that was not taken in time is overwritten and counted. A recording waits until its frame
has been taken, so that none is lost. A live camera that is lost is opened again, with growing pauses; a single frame
that cannot be used is left out and counted. What ends the thread for good reaches the main loop through `take`.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from device.backoff import Backoff
from device.camera import Camera
from device.clock import Clock
from device.frame import BadFrameError, BadFrameReason, Frame
from smartbin.errors import CameraError, SmartbinError

_log = logging.getLogger(__name__)
_JOIN_S = 0.5
_BAD_IN_A_ROW = 10  # frames that cannot be used, one after the other: the camera is lost
_STALE_IN_A_ROW = 20  # frames that grew too old while they were judged: this machine is too slow


class ReconnectSettings(BaseModel):
    """How a lost camera is opened again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_s: float = Field(default=0.5, gt=0, description="pause before the first try; it doubles with each")
    cap_s: float = Field(default=10.0, gt=0, description="longest pause")
    jitter: float = Field(
        default=0.2, ge=0, lt=1, description="part by which a pause is shortened at random: bins must not march in step"
    )
    lost_after_s: float = Field(default=2.0, gt=0, description="without a frame for so long, the camera counts as lost")
    frozen_after_s: float | None = Field(
        default=None,
        ge=0,
        description="the very same picture for so long means lost; 0: never; default 3, 30 for a network camera",
    )
    give_up_s: float = Field(
        default=60.0, gt=0, description="without a frame for so long, the daemon ends with exit code 4"
    )


@dataclass(frozen=True, slots=True)
class CaptureCounts:
    """What became of the frames. `refused` are frames that could not be used, by reason; `repeated` came again."""

    captured: int = 0
    overwritten: int = 0
    too_old: int = 0
    reconnects: int = 0
    refused: tuple[tuple[BadFrameReason, int], ...] = ()
    repeated: int = 0


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
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance`, 0 to 1, is what the pauses between two tries are shortened by."""
        self._open_camera, self._live, self._max_age_s, self._reconnect = open_camera, live, max_age_s, reconnect
        self._clock, self._stop, self._chance = clock, stop, chance
        self._slot = FrameSlot(wait_for_consumer=not live)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._error: BaseException | None = None
        self._captured = self._reconnects = self._too_old = self._repeated = 0
        self._stale_in_a_row = 0
        self._refused: Counter[BadFrameReason] = Counter()
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
        return None if self._too_old_now(frame) else frame

    def went_stale(self, frame: Frame) -> bool:
        """Whether a live frame that was taken in time has grown too old meanwhile: then nothing is decided by it.

        A model that takes longer than the limit would let the bin decide nothing at all; that is said once.
        """
        stale = self._too_old_now(frame)
        self._stale_in_a_row = self._stale_in_a_row + 1 if stale else 0
        if self._stale_in_a_row == _STALE_IN_A_ROW:
            _log.error(
                "the last %d frames grew older than [source] max_age_s = %g while they were judged, so nothing is "
                "decided: this machine is too slow for the model or busy with something else; a smaller model, a "
                "faster runtime or a higher limit helps",
                _STALE_IN_A_ROW,
                self._max_age_s,
            )
        return stale

    def _too_old_now(self, frame: Frame) -> bool:
        """Count a live frame that is older than the limit."""
        too_old = self._live and self._clock.now_s() - frame.captured_s > self._max_age_s
        self._too_old += too_old
        return too_old

    @property
    def finished(self) -> bool:
        """Whether no more frames will come: the recording is over, or capture was stopped."""
        return self._slot.finished

    @property
    def counts(self) -> CaptureCounts:
        """What became of the frames so far."""
        refused = tuple(sorted(self._refused.copy().items()))
        return CaptureCounts(
            self._captured, self._slot.overwritten, self._too_old, self._reconnects, refused, self._repeated
        )

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
        """Read until the recording ends; a live camera that was lost is opened again, with growing pauses.

        They start over once a camera has lasted, for longer than the last pause or than what makes a camera lost: one
        that fails at once again is no success.
        """
        settings = self._reconnect
        backoff = Backoff(settings.first_s, settings.cap_s, settings.jitter, self._chance)
        while not self._stop.is_set():
            opened_s, before = self._clock.now_s(), self._captured
            try:
                return self._read_one_camera()
            except CameraError as error:
                if not self._live or self._captured == 0:
                    raise
                self.trouble = error
            lasting_s = min(backoff.longest_s, settings.lost_after_s)
            if self._captured > before and self._clock.now_s() - opened_s > lasting_s:
                backoff.reset()
            if self._clock.wait(self._stop, backoff.next_s()):
                return None
            self._reconnects += 1
        return None

    def _read_one_camera(self) -> None:
        camera = self._open_camera()
        last_s, good_s, bad_in_a_row = None, self._clock.now_s(), 0
        try:
            while not self._stop.is_set():
                try:
                    frame = camera.read()
                except BadFrameError as error:
                    bad_in_a_row += 1
                    self._refuse(error, bad_in_a_row, good_s)
                    continue
                if frame is None:
                    return
                good_s, bad_in_a_row = self._clock.now_s(), 0
                self._captured += 1
                self._repeated += self._live and frame.captured_s == last_s
                last_s = frame.captured_s
                if not self._slot.put(self._numbered(frame)):
                    return
                self.trouble = None
        finally:
            camera.close()

    def _refuse(self, error: BadFrameError, in_a_row: int, good_s: float) -> None:
        """Count a frame that cannot be used; `CameraError` when there have been no others for too long."""
        self._refused[error.reason] += 1
        if in_a_row < _BAD_IN_A_ROW and self._clock.now_s() - good_s < self._reconnect.lost_after_s:
            return
        raise CameraError(
            "the camera gives no usable frame",
            where=error.where,
            found=f"{in_a_row} in a row, the last: {error.what}",
        ) from error

    def _numbered(self, frame: Frame) -> Frame:
        """Numbers of live frames go on after a reconnect."""
        return replace(frame, seq=self._captured) if self._live and frame.seq != self._captured else frame
