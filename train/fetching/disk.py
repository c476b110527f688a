"""Files on disk: their hash, room for them, and what is said when the disk fails. Called by everything that fetches."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import decimal

from smartbin.errors import DataError


class DiskError(DataError):
    """The disk is full or fails: no other source would help, and what was downloaded is not to blame."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_room(folder: Path, needed: int) -> None:
    """`DiskError` unless that many bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            "too little disk space",
            where=folder,
            found=f"{decimal(free)} free",
            expected=f"{decimal(needed)} for the archive and for unpacking it",
            fix="free some, or give another place: --to FOLDER",
        )


@contextmanager
def disk_faults(where: Path) -> Iterator[None]:
    """An `OSError` inside is a fault of the disk: a `DiskError` that says where."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            "cannot write or read here",
            where=where,
            found=error.strerror or error,
            fix="mend that and run the same command again: it continues",
        ) from error
