"""Looks at every frame of a live camera before anybody judges by it: is it a picture, of the right size, a new one?

Wraps a camera; the capture thread reads from it. A frame that cannot be used is a `BadFrameError`, which is counted; a
camera that repeats itself for too long is a `CameraError`, upon which it is opened again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from device.camera import Camera
from device.frame import BadFrameError, Frame
from smartbin.errors import CameraError
from smartbin.images import BgrImage

_SAMPLE_STEP = 16  # pixels between those that are compared first
_FLAT_SPREAD = 2.0  # levels; a picture without contrast (night, a blinded sensor) may honestly come again
_TORN_PART = 8  # an eighth of the picture's height
_BLACK, _WHITE = 20, 235  # rows of one colour in between are what decoders fill in for data that is missing


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """When a camera that repeats itself counts as frozen; 0: never.

    `repeats_age`: a picture that comes again bit for bit keeps the time of its first appearance, and is refused once it
    is too old. For cameras whose pictures have noise; a network camera may well send an unchanged scene unchanged.
    """

    frozen_after_s: float = 3.0
    repeats_age: bool = True


class WatchedCamera:
    """A live camera whose frames have been looked at. One opening has one picture size, that of its first frame."""

    live = True

    def __init__(self, camera: Camera, limits: WatchLimits) -> None:
        self._camera, self._limits = camera, limits
        self._shape: tuple[int, ...] | None = None
        self._flat_below = False  # the first picture looked torn: this camera's pictures may be so
        self._last: BgrImage | None = None
        self._since_s = 0.0

    def read(self) -> Frame | None:
        """The next frame; `BadFrameError` if it is unfit, `CameraError` if the camera is lost or has frozen."""
        frame = self._camera.read()
        if frame is None:
            return None
        check_picture(frame)
        if self._shape is None:
            self._shape, self._flat_below = frame.image.shape, is_torn(frame.image)
        elif frame.image.shape != self._shape:
            raise BadFrameError(
                "the frame has another size than those before",
                "size",
                where=frame.source,
                found=_size(frame.image.shape),
                expected=_size(self._shape),
            )
        elif not self._flat_below and is_torn(frame.image):
            raise BadFrameError("the lower part of the frame is missing", "torn", where=frame.source)
        return self._look_for_repeats(frame)

    def close(self) -> None:
        """Close the camera."""
        self._camera.close()

    def _look_for_repeats(self, frame: Frame) -> Frame:
        last, self._last = self._last, frame.image
        if last is None or not same_picture(last, frame.image):
            self._since_s = frame.captured_s
            return frame
        limit_s = self._limits.frozen_after_s
        if limit_s and frame.captured_s - self._since_s >= limit_s:
            raise CameraError(
                "the camera has frozen",
                where=frame.source,
                found=f"the very same picture for {frame.captured_s - self._since_s:.1f} s",
            )
        return replace(frame, captured_s=self._since_s) if self._limits.repeats_age and limit_s else frame


def check_picture(frame: Frame) -> None:
    """`BadFrameError` unless the frame is a colour picture, uint8 [H, W, 3]."""
    image = frame.image
    if image.size == 0:
        raise BadFrameError("the frame is empty", "empty", where=frame.source, found=_size(image.shape))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadFrameError(
            "the frame is no colour picture",
            "channels",
            where=frame.source,
            found=f"{image.dtype} {list(image.shape)}",
            expected="uint8 [H, W, 3] BGR",
        )


def is_torn(image: BgrImage) -> bool:
    """Whether the lowest eighth of a picture [H, W, 3] is of one colour, and neither black nor white.

    That is what a truncated JPEG (grey) or a short YUYV or H.264 frame (green) is decoded to. No sensor sees anything
    so even, except where it is blind or blinded; black bars of a network camera are black.
    """
    corner = image[-1, 0]
    if not (int(corner.max()) >= _BLACK and int(corner.min()) <= _WHITE) or (image[-1] != corner).any():
        return False
    rows = max(2, image.shape[0] // _TORN_PART)
    return bool((image[-rows:] == corner).all()) and not bool((image == corner).all())


def same_picture(before: BgrImage, image: BgrImage) -> bool:
    """Whether two pictures of one shape are bit for bit the same, and have contrast. A few microseconds if not."""
    if before.shape != image.shape:
        return False
    sample = image[::_SAMPLE_STEP, ::_SAMPLE_STEP]
    if not np.array_equal(before[::_SAMPLE_STEP, ::_SAMPLE_STEP], sample):
        return False
    return float(sample.std()) >= _FLAT_SPREAD and np.array_equal(before, image)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in (*shape[1::-1], *shape[2:]))
