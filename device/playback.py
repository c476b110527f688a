"""Plays a recording (scene, video, photos): as fast as it is asked for or in its own time, once or again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from device.camera import Camera
from device.clock import Clock
from device.frame import Frame

_GAP_S = 0.1  # between the last frame and the first of the next round


class Playback:
    """A recorded camera that keeps time and starts over. Numbers and times of the frames go on through the rounds."""

    live = False

    def __init__(
        self,
        open_recording: Callable[[float], Camera],
        clock: Clock,
        stop: threading.Event,
        *,
        paced: bool = False,
        loop: bool = False,
    ) -> None:
        """Open the first round with `open_recording(start_s)`; its errors pass through."""
        self._open, self._clock, self._stop, self._paced, self._loop = open_recording, clock, stop, paced, loop
        self._begun_s = self._last_s = clock.now_s()
        self._offset = self._seq = 0
        self._camera = open_recording(self._begun_s)

    def read(self) -> Frame | None:
        """The next frame, waiting for its time when paced; None at the end, or as soon as `stop` is set."""
        frame = self._camera.read()
        if frame is None and self._loop and not self._stop.is_set():
            self._camera.close()
            self._offset = self._seq
            self._camera = self._open(self._last_s + _GAP_S)
            frame = self._camera.read()
        if frame is None:
            return None
        if self._paced and self._clock.wait(self._stop, frame.captured_s - self._clock.now_s()):
            return None
        self._seq, self._last_s = self._offset + frame.seq, frame.captured_s
        return replace(frame, seq=self._seq) if self._offset else frame

    def close(self) -> None:
        """Close the recording."""
        self._camera.close()
