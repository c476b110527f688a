"""Puts a damaged SQLite file out of the way, with all that belongs to it, and forgets older ones."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path

_KEEP_DAMAGED = 2  # a dying disk must not fill itself with copies


def put_aside(database: Path, pictures: Path | None = None, now: datetime | None = None) -> Path:
    """Rename `NAME.EXT` to `NAME.damaged-TIME.EXT`, and the folder of its pictures alike; returns the new name.

    The write-ahead log goes with it under the matching name: whoever wants to rescue something needs both. `OSError`
    where the disk does not let us.
    """
    moment = (now if now is not None else datetime.now(timezone.utc)).strftime("%Y%m%dT%H%M%S%f")
    damaged = database.with_name(f"{database.stem}.damaged-{moment}{database.suffix}")
    log = database.with_name(database.name + "-wal")
    if log.exists():  # first: a log that is left behind would be played into the file that comes next
        log.rename(damaged.with_name(damaged.name + "-wal"))
    if database.exists():
        database.rename(damaged)
    database.with_name(database.name + "-shm").unlink(missing_ok=True)
    pattern = f"{database.stem}.damaged-*{database.suffix}"
    _forget_old(database.parent, pattern)
    _forget_old(database.parent, f"{pattern}-wal")
    if pictures is not None and pictures.exists():
        pictures.rename(pictures.with_name(f"{pictures.name}.damaged-{moment}"))
        _forget_old(pictures.parent, f"{pictures.name}.damaged-*")
    return damaged


def _forget_old(folder: Path, pattern: str) -> None:
    for old in sorted(folder.glob(pattern))[:-_KEEP_DAMAGED]:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)
