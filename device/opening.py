"""Opens what a source URI names: the one place that knows every kind of camera."""

from __future__ import annotations

import threading

from device.camera import Camera
from device.camera_settings import CameraMode
from device.clock import Clock
from device.config import SourceSettings
from device.fault_camera import FaultDrill
from device.opencv_camera import OpenCvCamera
from device.photo_camera import FolderCamera
from device.playback import Playback
from device.scene import SceneCamera
from device.sources import (
    CsiSource,
    DeviceSource,
    DrillSource,
    PhotoSource,
    PlainSource,
    RtspSource,
    SceneSource,
    Source,
    VideoSource,
    shown,
)
from device.video_file import VideoFileCamera
from device.watched_camera import WatchedCamera, WatchLimits

_FROZEN_S, _FROZEN_RTSP_S = 3.0, 30.0  # a network camera may send a still scene unchanged until its next key frame


class CameraOpener:
    """Opens one source, as often as it is asked. `drill` is what a test camera does, and lasts through all openings."""

    def __init__(
        self, source: Source, settings: SourceSettings, classes: tuple[str, ...], clock: Clock, stop: threading.Event
    ) -> None:
        self._source, self._settings, self._classes, self._clock, self._stop = source, settings, classes, clock, stop
        self.drill: FaultDrill | None = None
        if isinstance(source, DrillSource):
            self.drill = FaultDrill(source.plan, self._open_inner, str(source), clock, stop)

    def __call__(self) -> Camera:
        """Open it; `CameraError` if that fails. The frames of a live camera are looked at before they are given."""
        if self.drill is not None:
            camera: Camera = self.drill.open()
        else:
            assert not isinstance(self._source, DrillSource)
            camera = open_camera(self._source, self._settings, self._classes, self._clock, self._stop)
        return WatchedCamera(camera, watch_limits(self._source, self._settings)) if camera.live else camera

    def _open_inner(self) -> Camera:
        """What a drill shows: a recording starts over at its end, and the drill keeps its time."""
        assert isinstance(self._source, DrillSource)
        endless = self._settings.model_copy(update={"loop": True, "pace": "fast"})
        return open_camera(self._source.inner, endless, self._classes, self._clock, self._stop)


def open_camera(
    source: PlainSource, settings: SourceSettings, classes: tuple[str, ...], clock: Clock, stop: threading.Event
) -> Camera:
    """Open a source. `classes` are the folder names that count as truth. `CameraError` if it cannot be opened."""
    if isinstance(source, (DeviceSource, CsiSource, RtspSource)):
        return OpenCvCamera(source, camera_mode(settings), clock)

    def open_recording(start_s: float) -> Camera:
        return _open_recording(source, classes, start_s)

    return Playback(open_recording, clock, stop, paced=plays_in_real_time(source, settings), loop=settings.loop)


def camera_mode(settings: SourceSettings) -> CameraMode:
    """What the configuration asks of a camera."""
    return CameraMode(settings.width, settings.height, settings.fps, settings.camera, settings.rtsp)


def watch_limits(source: Source, settings: SourceSettings) -> WatchLimits:
    """When a source that repeats itself counts as frozen: as configured, else as befits its kind."""
    from_network = isinstance(shown(source), RtspSource)
    configured = settings.reconnect.frozen_after_s
    usual_s = _FROZEN_RTSP_S if from_network else _FROZEN_S
    return WatchLimits(usual_s if configured is None else configured, repeats_age=not from_network)


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
