"""Where pictures come from, as a URI and as a type: `parse_source("camera:0")` -> `DeviceSource`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

from device.fault_plan import FaultPlan, parse_fault_plan
from smartbin.errors import ConfigError
from smartbin.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mjpg", ".mjpeg", ".ts"})

_SECRET_WORD = re.compile(r"((?:pass\w*?|pwd|token|secret|api_?key|auth\w*?)=)[^&;/?#]*", re.IGNORECASE)

SOURCE_FORMS = (
    "camera:0 (USB camera 0), /dev/video0, csi:0 (Jetson's own camera connector), rtsp://HOST/PATH, "
    "a video file, a photo, a folder of photos, scene (the built-in one), or test://SOURCE?faults=… (any of these, "
    "failing on purpose)"
)


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """A camera behind V4L2: USB, or any /dev/videoN."""

    device: str
    live = True

    def __str__(self) -> str:
        return self.device


@dataclass(frozen=True, slots=True)
class CsiSource:
    """A camera on Jetson's CSI connector, by sensor number."""

    sensor: int
    live = True

    def __str__(self) -> str:
        return f"csi:{self.sensor}"


@dataclass(frozen=True, slots=True)
class RtspSource:
    """A network camera. Printed without its user name, and without passwords, also those that some have in the path."""

    url: str
    live = True

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return hide_words(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))

    def __repr__(self) -> str:
        return f"RtspSource({self})"


@dataclass(frozen=True, slots=True)
class VideoSource:
    """A video file."""

    path: Path
    live = False

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PhotoSource:
    """A photo, or a folder with photos at any depth."""

    path: Path
    live = False

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class SceneSource:
    """A folder with a rendered story: the built-in scene, when `path` is None."""

    path: Path | None = None
    live = False

    def __str__(self) -> str:
        return "scene" if self.path is None else f"scene:{self.path}"


PlainSource: TypeAlias = DeviceSource | CsiSource | RtspSource | VideoSource | PhotoSource | SceneSource


@dataclass(frozen=True, slots=True)
class DrillSource:
    """Any other source, shown as a live camera that fails on purpose."""

    inner: PlainSource
    plan: FaultPlan
    live = True

    def __str__(self) -> str:
        return f"test://{self.inner}"


Source: TypeAlias = PlainSource | DrillSource


def hide_words(address: str) -> str:
    """An address without the values of `password=`, `token=` and their like."""
    return _SECRET_WORD.sub(r"\1***", address)


def shown(source: Source) -> PlainSource:
    """What is to be seen: of a drill, the source behind it."""
    return source.inner if isinstance(source, DrillSource) else source


def parse_source(uri: str) -> Source:
    """Read a source URI; `ConfigError` listing the forms if it is none, or naming the file that is not there."""
    text = uri.strip()
    if text.startswith("test://"):
        return _parse_drill(text)
    return _parse_plain(text, uri)


def _parse_drill(text: str) -> DrillSource:
    """`test://SOURCE?QUERY`; the source may be left out, and is then the scene."""
    name, _, query = text.removeprefix("test://").partition("?")
    return DrillSource(_parse_plain(name or "scene", text), parse_fault_plan(query, text))


def _parse_plain(text: str, uri: str) -> PlainSource:
    if text == "scene":
        return SceneSource()
    if text.startswith("scene:"):
        return SceneSource(Path(text.removeprefix("scene:")))
    if match := re.fullmatch(r"(?:camera|usb|v4l2):(?://)?(\d{1,3})", text):
        return DeviceSource(f"/dev/video{match[1]}")
    if match := re.fullmatch(r"(?:v4l2://)?(/dev/[\w./-]+)", text):
        return DeviceSource(match[1])
    if match := re.fullmatch(r"csi:(?://)?(\d{1,2})", text):
        return CsiSource(int(match[1]))
    if text.startswith(("rtsp://", "rtsps://")):
        return _parse_rtsp(text)
    return _parse_path(text.removeprefix("file://"), uri)


def _parse_rtsp(url: str) -> RtspSource:
    if not urlsplit(url).hostname:
        raise ConfigError("the RTSP address has no host", where="source", found=url, expected="rtsp://HOST[:PORT]/PATH")
    return RtspSource(url)


def _parse_path(text: str, uri: str) -> PlainSource:
    path = Path(text).expanduser()
    if text and path.is_dir():
        return PhotoSource(path)
    if text and path.is_file():
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            return PhotoSource(path)
        if suffix in VIDEO_SUFFIXES:
            return VideoSource(path)
        raise ConfigError(
            "neither a video nor a photo, by its name",
            where="source",
            found=str(path),
            expected=", ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES)),
        )
    looks_like_path = "/" in text or Path(text).suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
    raise ConfigError(
        "no such file or folder" if looks_like_path else "unknown source",
        where="source",
        found=repr(uri),
        expected=SOURCE_FORMS,
    )
