"""Where decoded photos are kept: finding, building, trimming and clearing the maps of the cache folder.

    CACHE/maps/KEY/    a map (`train/photo_map.py`); KEY follows from the SHA-256 of every photo, size kept and decoder
    CACHE/maps/KEY.lock  held while it is built
    CACHE/index/       which files have not changed (`train/photo_index.py`)

Everything in it can be deleted at any time: `python train/run.py cache clear`, or by hand.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from smartbin.atomic import replace_folder
from smartbin.images import BgrImage
from train.console import say
from train.photo_map import CODEC, MAP_FILE, DamagedMap, MapWriter, PhotoMap

_SHARE_OF_DISK = 0.8  # of what is free


class CacheUnusableError(Exception):
    """The photos cannot be kept here; the message says why. They are then decoded every time."""


@dataclass(frozen=True, slots=True)
class StoredMap:
    """A map in the cache folder, for listing and trimming."""

    path: Path
    bytes: int
    used_s: float
    """Wall clock of the last use."""


def default_cache_folder() -> Path:
    """`$XDG_CACHE_HOME/smartbin`, else `~/.cache/smartbin`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "smartbin"


def map_key(digests: Iterable[str], side: int) -> str:
    """Name of the map of these photos with this setting."""
    content = "\n".join([CODEC, str(side), *sorted(set(digests))])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


class PhotoCache:
    """The maps below a folder, which holds at most `limit_bytes` of them."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder / "maps", limit_bytes

    def find(self, digests: frozenset[str], side: int) -> PhotoMap | None:
        """A map that holds all these photos, be it one of more photos; None if there is none."""
        wanted = map_key(digests, side)
        for stored in sorted(self.stored(), key=lambda item: item.path.name != wanted):
            try:
                found = PhotoMap(stored.path)
            except DamagedMap:
                continue
            if found.serves(digests, side):
                with suppress(OSError):  # someone else's cache may be read-only
                    os.utime(stored.path / MAP_FILE)
                return found
        return None

    def build(
        self,
        digests: frozenset[str],
        side: int,
        estimate: Callable[[], int],
        decoded: Callable[[], Iterator[tuple[str, BgrImage]]],
    ) -> PhotoMap:
        """The map of these photos, built from what `decoded` yields unless another process has just done so.

        `estimate` says how many bytes it will take. Raises `CacheUnusableError` if there is no room or no permission,
        and whatever `decoded` raises; the cache is then as it was.
        """
        path = self.folder / map_key(digests, side)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock")):
                if (found := self.find(digests, side)) is not None:
                    return found
                self._check_room(estimate())
                self._remove_leftovers(path.name)
                self._write(path, side, decoded)
                self.trim(keep=path)
        except OSError as error:
            raise CacheUnusableError(f"{self.folder}: {error.strerror or error}") from error
        return PhotoMap(path)

    def stored(self) -> list[StoredMap]:
        """Every finished map, the one last used first."""
        found = []
        for file in self.folder.glob(f"[!.]*/{MAP_FILE}"):
            with suppress(OSError):  # another process has just removed it
                size = sum(part.stat().st_size for part in file.parent.iterdir())
                found.append(StoredMap(file.parent, size, file.stat().st_mtime))
        return sorted(found, key=lambda item: -item.used_s)

    def trim(self, keep: Path | None = None) -> list[StoredMap]:
        """Remove the maps that were not used for longest until the rest fits; returns what went."""
        removed, total = [], 0
        for stored in sorted(self.stored(), key=lambda item: item.path != keep):
            total += stored.bytes
            if total > self.limit_bytes and stored.path != keep:
                _remove(stored.path)
                removed.append(stored)
        return removed

    def _check_room(self, needed: int) -> None:
        if needed > self.limit_bytes:
            raise CacheUnusableError(
                f"decoded photos would take {needed / 1e9:.1f} GB, more than --cache-gb {self.limit_bytes / 1e9:g}"
            )
        free = shutil.disk_usage(self.folder).free
        if needed > _SHARE_OF_DISK * free:
            raise CacheUnusableError(
                f"decoded photos would take {needed / 1e9:.1f} GB, and {self.folder} has {free / 1e9:.1f} GB free"
            )

    def _write(self, path: Path, side: int, decoded: Callable[[], Iterator[tuple[str, BgrImage]]]) -> None:
        with replace_folder(path) as folder, closing(MapWriter(folder, side)) as writer:
            for digest, image in decoded():
                writer.add(digest, image)
                if writer.bytes > self.limit_bytes:
                    self._check_room(writer.bytes)
            writer.finish()

    def _remove_leftovers(self, name: str) -> None:
        """What a killed process left half-built; the lock is held, so nobody is building it now."""
        for path in [*self.folder.glob(f".{name}.new-*"), *self.folder.glob(f".{name}.old-*")]:
            shutil.rmtree(path, ignore_errors=True)


def clear(folder: Path) -> int:
    """Remove all that the cache in `folder` holds; returns the bytes. Running processes keep what they opened."""
    freed = 0
    for part in (folder / "maps", folder / "index"):
        freed += sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        shutil.rmtree(part, ignore_errors=True)
    return freed


def _remove(path: Path) -> None:
    """Out of sight first, so that no other process opens half of it."""
    aside = path.with_name(f".{path.name}.old-{os.getpid()}")
    with suppress(OSError):
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        path.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock of a map. It ends with the process, however that ends."""
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is decoding the same photos; waiting ({file})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
