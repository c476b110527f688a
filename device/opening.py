"""Opens what a source URI names: the one place that knows every kind of camera."""

from __future__ import annotations

import threading

from device.camera import Camera
from device.clock import Clock
from device.config import SourceSettings
from device.opencv_camera import CameraMode, OpenCvCamera, VideoFileCamera
from device.photo_camera import FolderCamera
from device.playback import Playback
from device.scene import SceneCamera
from device.sources import CsiSource, DeviceSource, PhotoSource, RtspSource, SceneSource, Source, VideoSource


def open_camera(
    source: Source, settings: SourceSettings, classes: tuple[str, ...], clock: Clock, stop: threading.Event
) -> Camera:
    """Open a source. `classes` are the folder names that count as truth. `CameraError` if it cannot be opened."""
    if isinstance(source, (DeviceSource, CsiSource, RtspSource)):
        return OpenCvCamera(source, CameraMode(settings.width, settings.height, settings.fps), clock)

    def open_recording(start_s: float) -> Camera:
        return _open_recording(source, classes, start_s)

    return Playback(open_recording, clock, stop, paced=plays_in_real_time(source, settings), loop=settings.loop)


def plays_in_real_time(source: Source, settings: SourceSettings) -> bool:
    """Whether a recording waits for the time of its frames: as configured, else only the scene does."""
    if isinstance(source, PhotoSource):
        return False
    return settings.pace == "real" or (settings.pace == "auto" and isinstance(source, SceneSource))


def _open_recording(
    source: VideoSource | PhotoSource | SceneSource, classes: tuple[str, ...], start_s: float
) -> Camera:
    if isinstance(source, SceneSource):
        return SceneCamera(source.path, start_s)
    if isinstance(source, VideoSource):
        return VideoFileCamera(source.path, start_s)
    return FolderCamera(source.path, classes, start_s)
