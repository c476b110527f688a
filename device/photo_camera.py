"""Photos on disk as a camera: a folder, or one photo."""

from __future__ import annotations

import logging
from pathlib import Path

from device.frame import Frame
from smartbin.errors import CameraError, ImageError
from smartbin.images import list_images, read_image

_log = logging.getLogger(__name__)
_INTERVAL_S = 1.0  # photos have no frame rate; the time between two of them is made up


class FolderCamera:
    """Every photo below a folder once, in natural order (photo2 before photo10); unreadable ones are said and skipped.

    The name of a photo's own folder is its `truth`, if that is one of `classes`.
    """

    live = False

    def __init__(self, path: Path, classes: tuple[str, ...] = (), start_s: float = 0.0) -> None:
        """List the photos; `CameraError` if there are none."""
        self._photos = [path] if path.is_file() else list_images(path)
        if not self._photos:
            raise CameraError("no photos in this folder", where=path, expected="photos at any depth below it")
        self._classes, self._start_s = frozenset(classes), start_s
        self._next, self.unreadable = 0, 0

    def __len__(self) -> int:
        return len(self._photos)

    def read(self) -> Frame | None:
        """The next photo that can be read, None after the last; `CameraError` if none of them could be."""
        while self._next < len(self._photos):
            path = self._photos[self._next]
            self._next += 1
            try:
                image = read_image(path)
            except ImageError as error:
                self.unreadable += 1
                _log.warning("skipped: %s", " ".join(str(error).split()))
                continue
            truth = path.parent.name if path.parent.name in self._classes else None
            captured_s = self._start_s + (self._next - 1) * _INTERVAL_S
            return Frame(image, self._next, captured_s, str(path.parent), origin=str(path), truth=truth)
        if self.unreadable == len(self._photos):
            raise CameraError(
                "none of the photos can be read", found=f"{self.unreadable} photos", where=self._photos[0].parent
            )
        return None

    def close(self) -> None:
        """Nothing is held open."""
