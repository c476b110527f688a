"""The data root while something is fetched into it: locked, with downloads in a folder of their own, tidied after.

Called by `train/fetching/fetch.py`. What a killed fetch left behind is cleared by the next one, which the lock makes
safe.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smartbin.errors import DataError
from train.fetching.disk import disk_faults

DOWNLOADS = ".downloads"
_LOCK = "lock"


@contextmanager
def locked_root(root: Path, name: str) -> Iterator[Path]:
    """Make and lock the data root for the data set `name`; yields the folder for downloads.

    `DataError` if another process fetches into this root. At the end folders that are empty go again.
    """
    new = not root.exists()
    downloads = root / DOWNLOADS
    descriptor = _lock(downloads / _LOCK, root)
    try:
        _clear_leftovers(root, name)
        yield downloads
    finally:
        with suppress(OSError):  # not empty: something is kept
            (downloads / _LOCK).unlink()
            downloads.rmdir()
            if new:
                root.rmdir()
        os.close(descriptor)  # and with it the lock


def archive_place(downloads: Path, name: str, url: str) -> Path:
    """Where the archive from `url` is kept until it is unpacked; another address has another place."""
    return downloads / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def clear_downloads(downloads: Path, name: str) -> None:
    """Remove the archives of a data set that is whole, and parts from other sources."""
    for path in downloads.glob(f"{name}-*"):
        path.unlink()


def _lock(file: Path, root: Path) -> int:
    """Lock a file, which a process that is done removes: what was locked must still be what has the name."""
    while True:
        with disk_faults(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise DataError(
                    "another process is fetching into this folder", where=root, fix="wait for it, or give another --to"
                ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)


def _clear_leftovers(root: Path, name: str) -> None:
    """What `replace_folder` and unpacking leave when they are killed; a set that was moved aside comes back."""
    folder = root / name
    for old in root.glob(f".{name}.old-*"):
        if not folder.exists() and (old / name).is_dir():
            (old / name).rename(folder)
        shutil.rmtree(old)
    for new in (*root.glob(f".{name}.new-*"), *(root / DOWNLOADS).glob("npz-*")):
        shutil.rmtree(new)
