"""GStreamer pipelines as text: Jetson's CSI cameras, and network cameras with as little delay as there can be."""

from __future__ import annotations

import cv2

from device.camera_settings import Answer, CameraMode, RtspSettings, Span

_CSI_DEFAULT = (1280, 720, 30)
# nvarguscamerasrc's wbmode
_WHITE_BALANCE = {
    "auto": 1,
    "incandescent": 2,
    "fluorescent": 3,
    "warm-fluorescent": 4,
    "daylight": 5,
    "cloudy-daylight": 6,
    "twilight": 7,
    "shade": 8,
}
_NEWEST_ONLY = "appsink drop=true max-buffers=1 sync=false"  # never more than one frame waits
_TO_BGR = "videoconvert ! video/x-raw, format=BGR"
_FROM_NVMM = "nvvidconv ! video/x-raw, format=BGRx"  # Jetson's decoders and cameras leave frames in their own memory


def csi_pipeline(sensor: int, mode: CameraMode) -> str:
    """The pipeline of a CSI camera on a Jetson.

    The rate is part of the format, so that auto-exposure cannot lower it.
    """
    width, height, fps = mode.width or _CSI_DEFAULT[0], mode.height or _CSI_DEFAULT[1], csi_rate(mode)
    settings = mode.camera
    source = [f"nvarguscamerasrc sensor-id={sensor}"]
    exposure_ms, _ = csi_exposure(mode)
    if exposure_ms is not None:
        source.append(f'exposuretimerange="{_range(exposure_ms, 1e6, ".0f")}"')  # nanoseconds
    if settings.gain is not None:
        source.append(f'gainrange="{_range(settings.gain, 1, "g")}"')
    if settings.white_balance is not None:
        source.append(f"wbmode={_WHITE_BALANCE[settings.white_balance]}")
    return (
        f"{' '.join(source)} ! "
        f"video/x-raw(memory:NVMM), width={width}, height={height}, framerate={round(fps)}/1, format=NV12 ! "
        f"{_FROM_NVMM} ! {_TO_BGR} ! {_NEWEST_ONLY}"
    )


def csi_rate(mode: CameraMode) -> float:
    """Frames a second of a CSI camera."""
    return mode.fps or _CSI_DEFAULT[2]


def csi_exposure(mode: CameraMode) -> tuple[Span | None, list[Answer]]:
    """The exposure that is asked of a CSI camera: no longer than a frame lasts, which is said where it was wished."""
    wish, longest_ms = mode.camera.exposure_ms, 1000 / csi_rate(mode)
    if wish is None or (wish[1] if isinstance(wish, tuple) else wish) <= longest_ms:
        return wish, []
    capped: Span = (min(wish[0], longest_ms), longest_ms) if isinstance(wish, tuple) else longest_ms
    asked = f"up to {wish[1]:g} ms" if isinstance(wish, tuple) else f"{wish:g} ms"
    return capped, [Answer("exposure", asked, f"{longest_ms:.1f} ms, as long as a frame lasts", taken=False)]


def rtsp_pipeline(url: str, settings: RtspSettings, *, jetson: bool) -> str:
    """The pipeline of a network camera: its first video stream, whatever the codec, by the hardware where it can."""
    timeout_us = round(settings.timeout_s * 1e6)
    convert = f"{_FROM_NVMM} ! {_TO_BGR}" if jetson else _TO_BGR
    return (
        f'rtspsrc location="{_quoted(url)}" protocols={settings.transport} latency={settings.latency_ms} '
        f"drop-on-latency=true timeout={timeout_us} tcp-timeout={timeout_us} ! "
        f"application/x-rtp, media=video ! decodebin ! {convert} ! {_NEWEST_ONLY}"
    )


def opencv_has_gstreamer() -> bool:
    """Whether this OpenCV can use GStreamer. Its list of back ends names it even where that is not so."""
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))


def _quoted(url: str) -> str:
    """An address that cannot end the quotes that it stands in: those characters have no place in one unescaped."""
    return url.replace("\\", "%5C").replace('"', "%22").replace("\n", "%0A").replace("\r", "%0D")


def _range(span: Span, unit: float, form: str) -> str:
    lowest, highest = span if isinstance(span, tuple) else (span, span)
    return f"{lowest * unit:{form}} {highest * unit:{form}}"
