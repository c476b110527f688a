"""Every photo is known to be whole before the first epoch, and is decoded once: later starts read the cache's map.

Called by the set-up of a run and by `evaluate`. Broken photos are reported together. Files that have not changed since
an earlier start are not opened again.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from smartbin.errors import DataError, ImageError
from smartbin.images import BgrImage, LabelledPhoto, decode_image, read_image
from train.cache.photo_cache import CacheUnusableError, PhotoCache, default_cache_folder
from train.cache.photo_index import FileState, PhotoIndex, state_of
from train.cache.photo_map import PhotoMap, shrink
from train.console import progress, say
from train.machine_config import Machine

CacheMode: TypeAlias = Literal["auto", "map", "none"]
DEFAULT_CACHE_GB = 50.0
_WORTH_GB = 4.0  # of photos in their full size, which are looked at once or a few times
_SHOWN = 5
_SAMPLED = 16
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class PhotoStore:
    """Photos by path: decoded ones from the cache's map, others from their files."""

    digests: Mapping[Path, str]
    """SHA-256 of each file."""
    cached: PhotoMap | None = None
    side: int = 0
    """Longest side of a photo for training, pixels; 0: as it is."""

    def image(self, path: Path) -> BgrImage:
        """All pixels of a photo, uint8 [H, W, 3] BGR; `ImageError` if it has to be read and cannot be."""
        digest = self.digests.get(path, "")
        kept = self.cached.image(digest) if self.cached is not None and self.cached.is_whole(digest) else None
        return read_image(path) if kept is None else kept

    def training_image(self, path: Path) -> BgrImage:
        """A photo with its longest side at most `side`; the same whether it comes from the map or from its file."""
        kept = None if self.cached is None else self.cached.image(self.digests.get(path, ""))
        return shrink(read_image(path), self.side) if kept is None else kept

    def describe(self) -> str:
        """For the console; empty if nothing is cached."""
        if self.cached is None:
            return ""
        return f"decoded photos: {self.cached.nbytes / 1e9:.2f} GB mapped from {self.cached.folder}"


def read_photos(
    photos: Sequence[LabelledPhoto],
    cache: CacheMode,
    *,
    side: int = 0,
    folder: Path | None = None,
    limit_gb: float = DEFAULT_CACHE_GB,
    worth_gb: float = math.inf,
    verify: bool = False,
) -> PhotoStore:
    """Make sure that every photo is whole, and map the decoded ones; `DataError` naming those that cannot be read.

    `cache`: `none` decodes photos whenever they are used; `auto` does so if there is no room, which is an error with
    `map`, or if they would take more than `worth_gb`. Training photos are shrunk to `side`. `verify` reads every file
    and every cached pixel again.
    """
    paths = list(dict.fromkeys(photo.path for photo in photos))
    folder = folder or default_cache_folder()
    index = PhotoIndex(folder / "index")
    known = {} if verify else index.unchanged(paths)
    fresh = _hash_or_name_all(paths, known, decode=cache == "none")
    digests = {path: known[path] if path in known else fresh[path][1] for path in paths}
    found = None
    if cache != "none" and paths:
        try:
            worth_gb = math.inf if cache == "map" else worth_gb
            found = _map_of(digests, PhotoCache(folder, round(limit_gb * 1e9)), side, worth_gb, verify)
        except CacheUnusableError as error:
            if cache == "map":
                raise DataError(
                    "the photos cannot be cached",
                    where=folder,
                    found=error,
                    fix="another --cache-dir, a larger --cache-gb, or --cache auto",
                ) from error
            say(f"  note: photos are decoded every time they are used ({error})")
            _check_decodable(list(fresh), digests)
    try:
        index.add(fresh)
    except OSError as error:
        say(f"  note: photos are hashed at every start ({folder}: {error.strerror or error})")
    return PhotoStore(digests, found, side)


def open_photos(photos: Sequence[LabelledPhoto], machine: Machine, side: int = 0) -> PhotoStore:
    """`read_photos` as the settings of the machine say; without a `side` (for measuring) small sets only are cached."""
    return read_photos(
        photos,
        machine.cache,
        side=side,
        folder=machine.cache_dir,
        limit_gb=machine.cache_gb,
        worth_gb=math.inf if side else _WORTH_GB,
        verify=machine.verify_cache,
    )


def _map_of(digests: Mapping[Path, str], cache: PhotoCache, side: int, worth_gb: float, verify: bool) -> PhotoMap:
    contents = frozenset(digests.values())
    found = cache.find(contents, side)
    if found is not None and verify and not found.check():
        say(f"  note: {found.folder} was damaged and is built again")
        found = None
    if found is not None:
        return found
    paths = list(digests)
    size = estimated_bytes(paths, side)
    if size > worth_gb * 1e9:
        raise CacheUnusableError(f"whole, they would take {size / 1e9:.1f} GB; --cache map keeps them nevertheless")
    return cache.build(contents, side, estimate=lambda: size, decoded=lambda: _decoded(paths, digests))


def _hash(paths: Sequence[Path], known: Mapping[Path, str], *, decode: bool) -> dict[Path, tuple[FileState, str]]:
    """State and SHA-256 of the files that are not known; with `decode` they are decoded, too, to see that they can."""

    def read(path: Path) -> tuple[FileState, str]:
        state, data = _read(path)
        if decode:
            decode_image(data, where=path)
        return state, hashlib.sha256(data).hexdigest()

    return dict(_read_ahead([path for path in paths if path not in known], read, "reading photos"))


def _hash_or_name_all(
    paths: Sequence[Path], known: Mapping[Path, str], *, decode: bool
) -> dict[Path, tuple[FileState, str]]:
    """`_hash`; where a file cannot even be read, the others are decoded before the error, to name all broken ones."""
    try:
        return _hash(paths, known, decode=decode)
    except DataError:
        return _hash(paths, known, decode=True)


def _decoded(paths: Sequence[Path], digests: Mapping[Path, str]) -> Iterator[tuple[str, BgrImage]]:
    def read(path: Path) -> BgrImage:
        _, data = _read(path)
        if hashlib.sha256(data).hexdigest() != digests[path]:
            raise ImageError("the photo has changed while photos were read", where=path)
        return decode_image(data, where=path)

    for path, image in _read_ahead(paths, read, "decoding photos"):
        yield digests[path], image


def _check_decodable(paths: Sequence[Path], digests: Mapping[Path, str]) -> None:
    for _ in _decoded(paths, digests):
        pass


def _read(path: Path) -> tuple[FileState, bytes]:
    try:
        return state_of(path), path.read_bytes()
    except OSError as error:
        raise ImageError(str(error.strerror or error), where=path) from error


def estimated_bytes(paths: Sequence[Path], side: int) -> int:
    """Bytes of all photos decoded and shrunk to `side`, judged by some of them."""
    some = [paths[int(place)] for place in np.unique(np.linspace(0, len(paths) - 1, _SAMPLED).astype(int))]
    sizes = []
    for path in some:
        try:
            sizes.append(shrink(read_image(path), side).nbytes)
        except ImageError:
            continue  # reported by the reading that follows
    return round(sum(sizes) / max(1, len(sizes)) * len(paths))


def _read_ahead(paths: Sequence[Path], read: Callable[[Path], _Result], title: str) -> Iterator[tuple[Path, _Result]]:
    """Read in threads, a few photos ahead, so that memory does not grow; `DataError` at the end for all that failed."""
    threads = min(8, os.cpu_count() or 1)
    errors: list[str] = []
    with ThreadPoolExecutor(threads) as pool, progress(title, len(paths)) as advance:
        waiting: deque[tuple[Path, Future[_Result]]] = deque()
        for number in range(len(paths) + 4 * threads):
            if number < len(paths):
                waiting.append((paths[number], pool.submit(read, paths[number])))
            if number < 4 * threads or not waiting:
                continue
            path, future = waiting.popleft()
            advance(1, "")
            error = future.exception()
            if isinstance(error, ImageError):
                errors.append(f"{path}: {error.what}{f' ({error.found})' if error.found else ''}")
            else:
                yield path, future.result()
    if errors:
        raise _unreadable(errors, len(paths))


def _unreadable(errors: Sequence[str], count: int) -> DataError:
    more = f"\n    and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return DataError(
        f"{len(errors)} of {count} photos cannot be read",
        found="\n    " + "\n    ".join(errors[:_SHOWN]) + more,
        expected="whole JPEG, PNG, BMP, WebP or TIFF files",
        fix="fetch these files again or delete them",
    )
