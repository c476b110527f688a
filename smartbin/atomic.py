"""Files and folders that are there whole or not at all: written beside their place, synced, renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_SYNCS_AT_ONCE = 16


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a power cut, sees the old content or the new, never a part."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def write_text_atomic(path: Path, text: str) -> None:
    """`write_bytes_atomic` for text, as UTF-8."""
    write_bytes_atomic(path, text.encode("utf-8"))


def replace_link(link: Path, target: str) -> None:
    """Point the symbolic link `link` to `target` in one step: whoever reads it sees the old target or the new."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
    _sync(link.parent)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; at the end sync it and put it in the place of `path`, whatever was there.

    When the body raises, nothing is changed. The old folder is moved aside before the rename and deleted after it; a
    power cut between the two leaves it beside `path` as `.NAME.old-…`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.new-", dir=path.parent))
    try:
        yield temporary
        _sync_below(temporary)
        temporary.chmod(0o777 & ~_umask())
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _swap(temporary, path)


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
        _sync(path.parent)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old-", dir=path.parent)) / path.name
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    _sync(path.parent)
    shutil.rmtree(old.parent)


def _sync_below(folder: Path) -> None:
    """Sync every file and folder, several at a time: the disk then writes them together, ten times faster."""
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        for _ in pool.map(_sync, (path for path in folder.rglob("*") if not path.is_symlink())):
            pass  # raises what a sync raised
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
