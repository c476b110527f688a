"""A folder of finished things that were costly to make: found by name, built under a lock, trimmed to a size.

`train/cache/photo_cache.py` keeps decoded photos in one, `train/networks/front_cache.py` what a frozen front made of
them. Everything in it can be deleted at any time: `python train/run.py cache clear`, or by hand.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from train.console import say

_SHARE_OF_DISK = 0.8  # of what is free


class CacheUnusableError(Exception):
    """The things cannot be kept here; the message says why. They are then made every time."""


@dataclass(frozen=True, slots=True)
class StoredItem:
    """A finished thing in the folder, for listing and trimming."""

    path: Path
    bytes: int
    used_s: float
    """Wall clock of the last use."""


def default_cache_folder() -> Path:
    """`$XDG_CACHE_HOME/smartbin`, else `~/.cache/smartbin`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "smartbin"


class CacheFolder:
    """Things below a folder, which holds at most `limit_bytes`; each is a folder with the file `marker` in it."""

    def __init__(self, folder: Path, marker: str, what: str, limit_bytes: int) -> None:
        self.folder, self.marker, self.what, self.limit_bytes = folder, marker, what, limit_bytes

    def stored(self) -> list[StoredItem]:
        """Everything that is finished, what was last used first."""
        found = []
        for file in self.folder.glob(f"[!.]*/{self.marker}"):
            with suppress(OSError):  # another process has just removed it
                size = sum(part.stat().st_size for part in file.parent.iterdir())
                found.append(StoredItem(file.parent, size, file.stat().st_mtime))
        return sorted(found, key=lambda item: -item.used_s)

    def touch(self, path: Path) -> None:
        """Note that it was used."""
        with suppress(OSError):  # someone else's cache may be read-only
            os.utime(path / self.marker)

    def trim(self, keep: Path | None = None) -> list[StoredItem]:
        """Remove what was not used for longest until the rest fits; returns what went."""
        removed, total = [], 0
        for stored in sorted(self.stored(), key=lambda item: item.path != keep):
            total += stored.bytes
            if total > self.limit_bytes and stored.path != keep:
                _remove(stored.path)
                removed.append(stored)
        return removed

    def check_room(self, needed: int) -> None:
        """`CacheUnusableError` if so many bytes are more than the limit, or than the disk should give."""
        if needed > self.limit_bytes:
            raise CacheUnusableError(
                f"{self.what} would take {needed / 1e9:.1f} GB, more than --cache-gb {self.limit_bytes / 1e9:g}"
            )
        free = shutil.disk_usage(self.folder).free
        if needed > _SHARE_OF_DISK * free:
            raise CacheUnusableError(
                f"{self.what} would take {needed / 1e9:.1f} GB, and {self.folder} has {free / 1e9:.1f} GB free"
            )

    @contextmanager
    def building(self, path: Path) -> Iterator[None]:
        """Hold the lock of the thing at `path`, which another process may have built when the body begins.

        What a killed process left half-built is removed. `CacheUnusableError` for an error of the disk.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock"), self.what):
                for leftover in [*self.folder.glob(f".{path.name}.new-*"), *self.folder.glob(f".{path.name}.old-*")]:
                    shutil.rmtree(leftover, ignore_errors=True)
                yield
        except OSError as error:
            raise CacheUnusableError(f"{self.folder}: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    """Out of sight first, so that no other process opens half of it."""
    aside = path.with_name(f".{path.name}.old-{os.getpid()}")
    with suppress(OSError):
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        path.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _locked(file: Path, what: str) -> Iterator[None]:
    """Hold the lock of a thing. It ends with the process, however that ends."""
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making the same {what}; waiting ({file})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
