"""Every photo is opened once before the first epoch: broken ones are reported, the rest hashed and, if wished, kept.

Called by the set-up of a run and by `evaluate`. Kept photos are decoded arrays that loader processes share by fork.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from smartbin.errors import DataError, ImageError
from smartbin.images import BgrImage, LabelledPhoto, decode_image, read_image
from train.console import progress

_SHARE_OF_MEMORY = 0.25
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PhotoStore:
    """Photos by path: decoded ones from memory, others from disk."""

    digests: Mapping[Path, str]
    """SHA-256 of each file."""
    images: Mapping[Path, BgrImage] = field(default_factory=dict)

    def image(self, path: Path) -> BgrImage:
        """uint8 [H, W, 3] BGR; `ImageError` if it has to be read and cannot be."""
        kept = self.images.get(path)
        return read_image(path) if kept is None else kept


@dataclass(frozen=True, slots=True)
class _Read:
    digest: str
    image: BgrImage | None
    error: str = ""


def read_photos(photos: Sequence[LabelledPhoto], cache: Literal["auto", "ram", "none"]) -> PhotoStore:
    """Open every photo; `DataError` naming those that cannot be read. Decoded ones are kept as `cache` says."""
    keep = cache == "ram" or (cache == "auto" and _fits_in_memory(photos))
    digests: dict[Path, str] = {}
    images: dict[Path, BgrImage] = {}
    errors: list[str] = []
    with progress("reading photos", len(photos)) as advance:
        for photo, read in _read_ahead(photos, keep):
            if read.error:
                errors.append(f"{photo.path}: {read.error}")
            digests[photo.path] = read.digest
            if read.image is not None:
                images[photo.path] = read.image
            advance(1, "")
    if errors:
        more = f"\n    and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise DataError(
            f"{len(errors)} of {len(photos)} photos cannot be read",
            found="\n    " + "\n    ".join(errors[:_SHOWN]) + more,
            expected="whole JPEG, PNG, BMP, WebP or TIFF files",
            fix="fetch these files again or delete them",
        )
    return PhotoStore(digests, images)


def _read_ahead(photos: Sequence[LabelledPhoto], keep: bool) -> Iterator[tuple[LabelledPhoto, _Read]]:
    """Read in threads, a few photos ahead, so that memory does not grow when nothing is kept."""
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[LabelledPhoto, Future[_Read]]] = deque()
        for photo in photos:
            waiting.append((photo, pool.submit(_read_one, photo.path, keep)))
            if len(waiting) > 4 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for last, future in waiting:
            yield last, future.result()


def _read_one(path: Path, keep: bool) -> _Read:
    try:
        data = path.read_bytes()
        image = decode_image(data, where=path)
    except OSError as error:
        return _Read("", None, str(error.strerror or error))
    except ImageError as error:
        return _Read("", None, f"{error.what}{f' ({error.found})' if error.found else ''}")
    return _Read(hashlib.sha256(data).hexdigest(), image if keep else None)


def _fits_in_memory(photos: Sequence[LabelledPhoto]) -> bool:
    """Whether all photos, as large as the first one when decoded, take at most a quarter of the memory."""
    if not photos:
        return True
    try:
        first = read_image(photos[0].path).nbytes
    except ImageError:
        return False  # reported by the reading that follows
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return first * len(photos) <= _SHARE_OF_MEMORY * memory
