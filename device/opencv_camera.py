"""Live cameras through OpenCV: V4L2, GStreamer (Jetson's CSI, RTSP), FFmpeg (RTSP)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera_settings import CameraMode, RtspSettings, refused
from device.camera_wishes import VideoCapture, ask, look
from device.clock import Clock
from device.frame import BadFrameError, Frame
from device.gstreamer import csi_pipeline, opencv_has_gstreamer, rtsp_pipeline
from device.jetson import is_jetson
from device.machine import ThisMachine
from device.sources import CsiSource, DeviceSource, RtspSource
from device.stream_clock import StreamClock
from device.v4l2 import Controls, open_controls
from smartbin.brightness import measure
from smartbin.errors import CameraError
from smartbin.images import BgrImage

_log = logging.getLogger(__name__)

# no buffering, because the newest frame is the one that counts
_LOW_DELAY = "fflags;nobuffer|flags;low_delay"
_FIRST_READS = 5  # some USB cameras fail on their first reads while they start to stream
_STEADY_FRAMES, _STEADY_LUMA = 5, 0.01  # so many frames that differ by less from the one before: auto-exposure is done
_CSI_OPEN_S, _CSI_READ_S = 10.0, 5.0  # Argus takes seconds to start; a sensor that hangs is opened again
_STAMP_OFF_S = 2.0  # a stamp that is further off is of another clock


OpenCapture = Callable[[str | int, int, Sequence[int]], VideoCapture]


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
        controls_of: Callable[[str], Controls | None] = open_controls,
    ) -> None:
        """Open and configure; `CameraError`, with nothing left open, if any step fails."""
        self._name, self._clock, self._seq = str(source), clock, 0
        self._from_v4l2, self._stamped = isinstance(source, DeviceSource), False
        self._stream = StreamClock() if isinstance(source, RtspSource) else None
        self._capture = _open(source, mode, opener)
        try:
            answers = ask(source, self._capture, mode, controls_of)
            image, measured_fps = self._settled_image(mode.camera.settle_s)
            self.fps = self._capture.get(cv2.CAP_PROP_FPS)
            self.answers = tuple(look(source, mode, image, self.fps, measured_fps, answers))
            self._first: BgrImage | None = image
        except cv2.error as error:
            self._capture.release()
            raise CameraError("the camera fails while it is opened", where=self._name, found=error) from error
        except BaseException:
            self._capture.release()
            raise
        height, width = image.shape[:2]
        not_taken = refused(self.answers)
        _log.log(
            logging.WARNING if not_taken else logging.INFO,
            "camera %s: %d x %d at %.0f frames a second%s",
            *(self._name, width, height, self.fps),
            "".join(f"; {answer}" for answer in self.answers),
        )

    def read(self) -> Frame:
        """Wait for the next frame; `BadFrameError` when the camera gives none, which may pass."""
        image = self._first if self._first is not None else self._grab()
        self._first = None
        if image is None:
            raise BadFrameError("the camera gave no frame", "empty", where=self._name)
        self._seq += 1
        return Frame(image, self._seq, self._taken_s(), self._name)

    def _taken_s(self) -> float:
        """When the picture was taken: by the driver's stamp where it has one on our clock, else now.

        V4L2 stamps a buffer when it is filled, in monotonic time (VIDIOC_QUERYBUF); OpenCV hands that on. The first
        frame shows whether it does. A network stream has stamps of its own, which say how late a picture comes.
        """
        now_s = self._clock.now_s()
        if self._stream is not None:
            return self._stream.taken_s(now_s, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0)
        if not self._stamped and self._seq > 1:
            return now_s
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if self._seq == 1:
            self._stamped = self._from_v4l2 and 0 <= now_s - stamp_s < _STAMP_OFF_S
        return min(stamp_s, now_s) if self._stamped else now_s

    def close(self) -> None:
        """Release the device."""
        self._capture.release()

    def _settled_image(self, settle_s: float) -> tuple[BgrImage, float | None]:
        """A picture taken after auto-exposure has settled, or after `settle_s` at the latest; and the rate at which
        the last pictures came, None where too few did.
        """
        image = self._first_image()
        begun_s, steady = self._clock.now_s(), 0
        times_s = [begun_s]
        luma = measure(image).mean_luma
        while steady < _STEADY_FRAMES and times_s[-1] - begun_s < settle_s:
            following = self._grab()
            if following is None:
                break
            times_s.append(self._clock.now_s())
            image, before = following, luma
            luma = measure(image).mean_luma
            steady = steady + 1 if abs(luma - before) < _STEADY_LUMA else 0
        pauses_s = np.diff(times_s[-_STEADY_FRAMES - 1 :])
        usual_s = float(np.median(pauses_s)) if len(pauses_s) == _STEADY_FRAMES else 0.0
        return image, 1 / usual_s if usual_s > 0 else None

    def _first_image(self) -> BgrImage:
        for _ in range(_FIRST_READS):
            image = self._grab()
            if image is not None:
                return image
        raise CameraError(
            "the camera opens, but gives no picture",
            where=self._name,
            found=f"{_FIRST_READS} empty reads",
            fix="is another program using it? Try other [source] width, height and fps, or another USB port",
        )

    def _grab(self) -> BgrImage | None:
        """One picture; None if the camera gave none, or none that OpenCV could make something of."""
        try:
            done, image = self._capture.read()
            return as_bgr(image) if done and image is not None and image.size else None
        except cv2.error as error:
            _log.debug("camera %s: %s", self._name, error)
            return None


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


def _open(source: DeviceSource | CsiSource | RtspSource, mode: CameraMode, opener: OpenCapture) -> VideoCapture:
    if isinstance(source, CsiSource):
        capture = opener(csi_pipeline(source.sensor, mode), cv2.CAP_GSTREAMER, _limits(_CSI_OPEN_S, _CSI_READ_S))
        fix = (
            "`smartbin doctor` says whether this OpenCV has GStreamer, `v4l2-ctl --list-formats-ext` which sizes and "
            "rates the sensor has; "
            "`sudo systemctl restart nvargus-daemon` helps when the driver hangs"
        )
    elif isinstance(source, RtspSource):
        capture = _open_rtsp(source.url, mode.rtsp, opener)
        fix = "check address, user name and password, for example with ffplay"
    else:
        capture = opener(device_number(source.device), cv2.CAP_V4L2, [])
        fix = "is it plugged in, is another program using it, are you in group video? `smartbin doctor` looks"
    if capture.isOpened():
        return capture
    capture.release()
    raise CameraError("cannot open the camera", where=source, fix=fix)


def _open_rtsp(url: str, settings: RtspSettings, opener: OpenCapture) -> VideoCapture:
    """Through GStreamer if this OpenCV has it and it can, else through FFmpeg, unless one of them is asked for."""
    limits = _limits(settings.timeout_s, settings.timeout_s)
    if settings.backend == "gstreamer" or (settings.backend == "auto" and opencv_has_gstreamer()):
        capture = opener(rtsp_pipeline(url, settings, jetson=is_jetson(ThisMachine())), cv2.CAP_GSTREAMER, limits)
        if settings.backend == "gstreamer" or capture.isOpened():
            return capture
        capture.release()
    with _ffmpeg_options(f"rtsp_transport;{settings.transport}|{_LOW_DELAY}"):
        return opener(url, cv2.CAP_FFMPEG, limits)


def _limits(open_s: float, read_s: float) -> list[int]:
    """How long GStreamer and FFmpeg may take; without this OpenCV waits for half a minute (4.7 and later)."""
    opening, reading = cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC
    return [opening, round(open_s * 1000), reading, round(read_s * 1000)]


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
