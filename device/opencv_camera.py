"""Cameras and video files through OpenCV: V4L2, GStreamer (Jetson's CSI), FFmpeg (RTSP, files)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from device.clock import Clock
from device.frame import BadFrameError, Frame
from device.sources import CsiSource, DeviceSource, RtspSource
from smartbin.errors import CameraError
from smartbin.images import BgrImage

_log = logging.getLogger(__name__)

# TCP, because a lost UDP packet is a smeared picture; no buffering, because the newest frame is the one that counts.
RTSP_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
_RTSP_TIMEOUT_MS = 5000
_CSI_DEFAULT = (1280, 720, 30)
_SETTLE_READS = 5  # some USB cameras fail on their first reads while they start to stream


class VideoCapture(Protocol):
    """The part of `cv2.VideoCapture` that is used; tests give their own."""

    def isOpened(self) -> bool: ...  # noqa: D102, N802 - OpenCV's name

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]: ...  # noqa: D102

    def set(self, prop: int, value: float) -> bool: ...  # noqa: D102

    def get(self, prop: int) -> float: ...  # noqa: D102

    def release(self) -> None: ...  # noqa: D102


OpenCapture = Callable[[str | int, int, Sequence[int]], VideoCapture]


@dataclass(frozen=True, slots=True)
class CameraMode:
    """The picture size and rate asked of a camera; None leaves the camera's own."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None


def open_capture(target: str | int, backend: int, parameters: Sequence[int]) -> VideoCapture:
    """`cv2.VideoCapture` itself."""
    # cast: OpenCV's stubs name a wider array type than the uint8 that a camera gives
    if isinstance(target, int):
        return cast("VideoCapture", cv2.VideoCapture(target, backend, list(parameters)))
    return cast("VideoCapture", cv2.VideoCapture(target, backend, list(parameters)))


class OpenCvCamera:
    """A live camera: V4L2, CSI or RTSP. Opening reads one frame, so that a dead camera fails at once."""

    live = True

    def __init__(
        self,
        source: DeviceSource | CsiSource | RtspSource,
        mode: CameraMode,
        clock: Clock,
        opener: OpenCapture = open_capture,
    ) -> None:
        """Open and configure; `CameraError`, with nothing left open, if any step fails."""
        self._name, self._clock, self._seq = str(source), clock, 0
        self._capture = _open(source, mode, opener)
        try:
            if not isinstance(source, CsiSource):
                _ask_for(self._capture, mode, self._name)
            self._first: BgrImage | None = self._first_image()
        except BaseException:
            self._capture.release()
            raise
        height, width = self._first.shape[:2]
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        _log.info("camera %s: %d x %d at %.0f frames a second", self._name, width, height, fps)

    def read(self) -> Frame:
        """Wait for the next frame; `BadFrameError` when the camera gives none, which may pass."""
        image = self._first if self._first is not None else self._grab()
        self._first = None
        if image is None:
            raise BadFrameError("the camera gave no frame", "empty", where=self._name)
        self._seq += 1
        return Frame(image, self._seq, self._clock.now_s(), self._name)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()

    def _first_image(self) -> BgrImage:
        for _ in range(_SETTLE_READS):
            image = self._grab()
            if image is not None:
                return image
        raise CameraError(
            "the camera opens, but gives no picture",
            where=self._name,
            found=f"{_SETTLE_READS} empty reads",
            fix="is another program using it? Try other [source] width, height and fps, or another USB port",
        )

    def _grab(self) -> BgrImage | None:
        done, image = self._capture.read()
        return as_bgr(image) if done and image is not None and image.size else None


class VideoFileCamera:
    """A video file, frame by frame; `captured_s` runs with the video's own frame rate."""

    live = False

    def __init__(self, path: Path, start_s: float = 0.0, *, opener: OpenCapture = open_capture) -> None:
        """Open; `CameraError` if it is no video that OpenCV can read."""
        self._path, self._seq, self._start_s = path, 0, start_s
        self._capture = opener(str(path), cv2.CAP_FFMPEG, [])
        if not self._capture.isOpened():  # an OpenCV without FFmpeg may still have another reader
            self._capture.release()
            self._capture = opener(str(path), cv2.CAP_ANY, [])
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                "cannot read the video",
                where=path,
                expected="a video that OpenCV can decode",
                fix="`smartbin doctor` says what this OpenCV can; H.264 in MP4 works nearly everywhere",
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 1000 else 30.0

    def read(self) -> Frame | None:
        """The next frame, None at the end."""
        done, image = self._capture.read()
        if not done or image is None:
            if self._seq == 0:
                raise CameraError("the video has no frame that can be decoded", where=self._path)
            return None
        self._seq += 1
        captured_s = self._start_s + (self._seq - 1) / self.fps
        return Frame(as_bgr(image), self._seq, captured_s, str(self._path), origin=f"{self._path}#{self._seq}")

    def close(self) -> None:
        """Release the file."""
        self._capture.release()


def as_bgr(image: NDArray[np.uint8]) -> BgrImage:
    """Grey [H, W] or [H, W, 1] and BGRA [H, W, 4] as BGR [H, W, 3]; BGR as it is."""
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    return image


def device_number(device: str) -> int | str:
    """N of /dev/videoN, through links such as /dev/v4l/by-id/…; not every OpenCV opens V4L2 devices by name."""
    match = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(device))
    return int(match[1]) if match else device


def csi_pipeline(sensor: int, mode: CameraMode) -> str:
    """The GStreamer pipeline of a CSI camera on a Jetson: newest frame only, never more than one waiting."""
    width, height, fps = mode.width or _CSI_DEFAULT[0], mode.height or _CSI_DEFAULT[1], mode.fps or _CSI_DEFAULT[2]
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM), width={width}, height={height}, framerate={round(fps)}/1, format=NV12 ! "
        "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


def _open(source: DeviceSource | CsiSource | RtspSource, mode: CameraMode, opener: OpenCapture) -> VideoCapture:
    if isinstance(source, CsiSource):
        capture = opener(csi_pipeline(source.sensor, mode), cv2.CAP_GSTREAMER, [])
        fix = (
            "`smartbin doctor` says whether this OpenCV has GStreamer; "
            "`sudo systemctl restart nvargus-daemon` helps when the driver hangs"
        )
    elif isinstance(source, RtspSource):
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _RTSP_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _RTSP_TIMEOUT_MS]
        with _ffmpeg_options(RTSP_OPTIONS):
            capture = opener(source.url, cv2.CAP_FFMPEG, timeouts)
        fix = "check address, user name and password, for example with ffplay"
    else:
        capture = opener(device_number(source.device), cv2.CAP_V4L2, [])
        fix = "is it plugged in, is another program using it, are you in group video? `smartbin doctor` looks"
    if capture.isOpened():
        return capture
    capture.release()
    raise CameraError("cannot open the camera", where=source, fix=fix)


@contextmanager
def _ffmpeg_options(options: str) -> Iterator[None]:
    """Options for what is opened inside: OpenCV takes them from the environment only. The user's own come first.

    They are taken back, because a file that is opened with them loses its last frame.
    """
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    if name in os.environ:
        yield
        return
    os.environ[name] = options
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _ask_for(capture: VideoCapture, mode: CameraMode, name: str) -> None:
    """Ask for size and rate, and say what the camera made of it."""
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    wishes = (
        ("width", cv2.CAP_PROP_FRAME_WIDTH, mode.width),
        ("height", cv2.CAP_PROP_FRAME_HEIGHT, mode.height),
        ("fps", cv2.CAP_PROP_FPS, mode.fps),
    )
    for _, prop, wish in wishes:
        if wish is not None:
            capture.set(prop, float(wish))
    for what, prop, wish in wishes:
        if wish is not None and abs((got := capture.get(prop)) - wish) > 0.5:
            _log.warning("camera %s: asked for %s %g, it gives %g", name, what, wish, got)
