"""Tries the configured camera for `smartbin doctor --camera`: does it open, what did it take, how fast is it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from device.camera_settings import Answer, CameraMode
from device.clock import Clock
from device.config import SourceSettings
from device.frame import BadFrameError
from device.opencv_camera import OpenCvCamera
from device.opening import camera_mode
from device.sources import CsiSource, DeviceSource, RtspSource, parse_source
from device.watched_camera import WatchedCamera, WatchLimits
from smartbin.brightness import Exposure, measure
from smartbin.errors import CameraError

_TRIAL_S = 2.0
_MOST_FRAMES = 1000

OpenTrialCamera = Callable[[DeviceSource | CsiSource | RtspSource, CameraMode, Clock], OpenCvCamera]


@dataclass(frozen=True, slots=True)
class CameraTrial:
    """What was seen of a camera: picture size, measured rate, light, unusable frames, and what it answered."""

    name: str
    width: int
    height: int
    fps: float
    exposure: Exposure
    unfit: int
    answers: tuple[Answer, ...]


def try_camera(settings: SourceSettings, clock: Clock, opener: OpenTrialCamera = OpenCvCamera) -> CameraTrial:
    """Open the configured camera and read it for two seconds; `CameraError` if it is none, or gives no picture."""
    source = parse_source(settings.uri)
    if not isinstance(source, (DeviceSource, CsiSource, RtspSource)):
        raise CameraError("not a camera", found=source, expected="camera:0, /dev/video0, csi:0 or rtsp://…")
    camera = opener(source, camera_mode(settings), clock)
    watched = WatchedCamera(camera, WatchLimits(frozen_after_s=0))
    try:
        frame = watched.read()
        begun_s, frames, unfit = clock.now_s(), 0, 0
        while clock.now_s() - begun_s < _TRIAL_S and frames + unfit < _MOST_FRAMES:
            try:
                frame = watched.read()
                frames += 1
            except BadFrameError:
                unfit += 1
        took_s = clock.now_s() - begun_s
    except BadFrameError as error:
        raise CameraError("the camera's first frame is unfit", where=source, found=error.what) from error
    finally:
        watched.close()
    assert frame is not None, "a camera has no end"
    height, width = frame.image.shape[:2]
    fps = frames / took_s if took_s > 0 else 0.0
    return CameraTrial(str(source), width, height, fps, measure(frame.image), unfit, camera.answers)
