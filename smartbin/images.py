"""Photos from disk: read, list. Everything in smartbin that is called an image is uint8 [H, W, 3] BGR."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.errors import ImageError

BgrImage: TypeAlias = NDArray[np.uint8]
"""uint8 [H, W, 3], blue-green-red, as OpenCV and cameras deliver it."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""What ends a JPEG or begins a segment that says its length: neither a byte of the picture nor a restart marker."""
_PNG_START, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo and the class that its folder says it is."""

    path: Path
    label: str


def read_image(path: Path | str) -> BgrImage:
    """Read a photo as uint8 [H, W, 3] BGR, turned upright by its EXIF orientation.

    Raises `ImageError` for a missing file, for one that is no image, and for a truncated one (OpenCV alone would
    return it with its lower part grey).
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError("cannot read the photo", where=path, found=error.strerror or error) from error
    return decode_image(data, where=path)


def decode_image(data: bytes, *, where: object = None) -> BgrImage:
    """Decode an encoded photo to uint8 [H, W, 3] BGR; `ImageError` naming `where` if that is not possible."""
    if not data:
        raise ImageError("the photo is empty", where=where, found="0 bytes", fix="delete it or fetch it again")
    if _is_truncated(data):
        raise ImageError(
            "the photo is truncated", where=where, found=f"{len(data)} bytes without an end", fix="fetch it again"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # for example a size beyond OpenCV's limit
        raise ImageError("the photo cannot be decoded", where=where, found=str(error).strip()) from error
    if image is None:
        raise ImageError(
            "not an image that can be read",
            where=where,
            found=f"{len(data)} bytes",
            expected=", ".join(sorted(IMAGE_SUFFIXES)),
        )
    return np.asarray(image, np.uint8)


def _is_truncated(data: bytes) -> bool:
    """Whether the end is missing. It need not come last: cameras append metadata, small pictures, even films."""
    if data.startswith(_JPEG_START):
        return not _reaches_jpeg_end(data)
    return data.startswith(_PNG_START) and _PNG_END not in data


def _reaches_jpeg_end(data: bytes) -> bool:
    """Go from segment to segment (ITU-T T.81, annex B): a preview inside one of them has an end marker of its own."""
    position = len(_JPEG_START)
    while marker := _JPEG_MARKER.search(data, position):
        if marker[0] == _JPEG_END:
            return True
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False


def list_images(folder: Path) -> list[Path]:
    """All photos below `folder`, in natural order (`glass2` before `glass10`); `ImageError` if it is no folder."""
    if not folder.is_dir():
        raise ImageError("not a folder", where=folder, expected="a folder of photos")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted((path for path in found if not path.name.startswith(".")), key=natural_key)


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort key under which numbers inside a name count as numbers."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.as_posix())]
