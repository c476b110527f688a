"""What a test camera looks at: the pictures of another source, at the camera's rate, with a sensor's noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera import Camera
from device.clock import Clock
from device.fault_plan import FaultPlan
from device.frame import Frame
from smartbin.errors import CameraError
from smartbin.images import BgrImage

_FIRST_PERIOD_S = 1 / 30
_LONGEST_PERIOD_S = 1.0
_LONGEST_STEP_S = 0.5  # while the camera gives nothing for longer, what it looks at stands still
_NOISE_MARGIN = 32


class DrillPictures:
    """Reads a source, which it opens when it is asked and opens anew after a loss.

    Where the plan says how many frames a second, a recording plays in its own time and each picture comes again, with
    other noise, until it is over; else each comes once.
    """

    def __init__(self, plan: FaultPlan, open_inner: Callable[[], Camera], clock: Clock) -> None:
        self._plan, self._open_inner, self._clock = plan, open_inner, clock
        self._inner: Camera | None = None
        self._now: Frame | None = None  # the picture that is to be seen, and the next one
        self._next: Frame | None = None
        self._story_s = self._looked_s = 0.0
        self._period_s = _FIRST_PERIOD_S
        self._noise: NDArray[np.int16] | None = None
        self._count = 0

    @property
    def period_s(self) -> float:
        """Seconds from one frame to the next; 0: as fast as they are read, or as the camera behind it goes."""
        if self._plan.fps is not None:
            return 1 / self._plan.fps if self._plan.fps > 0 else 0.0
        live = self._inner is not None and self._inner.live
        return 0.0 if live else self._period_s / self._plan.speed

    def open(self) -> None:
        """Open the source, if it is not open; its errors pass through."""
        if self._inner is None:
            self._inner = self._open_inner()
            self._now = self._next = None

    def read(self) -> Frame | None:
        """The picture to be seen now, with noise; None at the end. `CameraError` if the source itself is lost."""
        assert self._inner is not None, "read before open"
        try:
            once = self._plan.fps is None or self._inner.live
            frame = self._once(self._inner) if once else self._in_its_time(self._inner)
        except CameraError:
            self.close()
            raise
        return None if frame is None else replace(frame, image=self._with_noise(frame.image))

    def close(self) -> None:
        """Close the source."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None

    def _once(self, inner: Camera) -> Frame | None:
        """The next picture."""
        before, self._now = self._now, inner.read()
        if before is not None and self._now is not None and self._now.captured_s > before.captured_s:
            self._period_s = min(self._now.captured_s - before.captured_s, _LONGEST_PERIOD_S)
        return self._now

    def _in_its_time(self, inner: Camera) -> Frame | None:
        """The picture that the recording shows at this time."""
        now_s = self._clock.now_s()
        if self._now is None:
            self._now, self._next = inner.read(), inner.read()
            self._story_s = self._now.captured_s if self._now is not None else 0.0
        else:
            self._story_s += min(now_s - self._looked_s, _LONGEST_STEP_S) * self._plan.speed
        self._looked_s = now_s
        while self._next is not None and self._next.captured_s <= self._story_s:
            self._now, self._next = self._next, inner.read()
        return self._now if self._next is not None else None

    def _with_noise(self, image: BgrImage) -> BgrImage:
        """A sensor's noise, each time another piece of one field: two frames are alike only when the camera freezes."""
        level = self._plan.noise
        if level == 0:
            return image
        height, width = image.shape[:2]
        size = (height + _NOISE_MARGIN, width + _NOISE_MARGIN, 3)
        if self._noise is None or self._noise.shape != size:
            self._noise = np.random.default_rng(self._plan.seed).integers(-level, level, size, np.int16, endpoint=True)
        self._count += 1
        top, left = (self._count * 7) % _NOISE_MARGIN, (self._count * 13) % _NOISE_MARGIN
        noise = self._noise[top : top + height, left : left + width]
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
