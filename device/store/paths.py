"""Where the store lies, who may write it, and how a damaged one is put aside.

FOLDER/events.sqlite                   the store, with -wal and -shm beside it while it is open
FOLDER/samples/                        the pictures that its rows name
FOLDER/.lock                           held by the daemon that writes
FOLDER/*.damaged-TIME…                 what was put aside, the newest few
"""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from smartbin.errors import ConfigError

_KEEP_DAMAGED = 2  # a dying disk must not fill itself with copies


def default_folder() -> Path:
    """`$XDG_DATA_HOME/smartbin/store`, else below `~/.local/share`, as for bundles."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "smartbin" / "store"


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The files of one store."""

    folder: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "events.sqlite"

    @property
    def samples(self) -> Path:
        """The folder of the pictures."""
        return self.folder / "samples"

    def lock(self) -> IO[str]:
        """Make the folder and take the right to write in it, until the file that is returned is closed or the process
        ends; `ConfigError` if another daemon has it, `OSError` if the folder cannot be made or written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / ".lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise ConfigError(
                "another smartbin writes its events here",
                where=self.folder,
                fix="stop that one, or give each bin of this machine a folder of its own: [store] folder",
            ) from error
        return file

    def put_aside(self, now: datetime | None = None) -> Path:
        """Rename the store and its pictures out of the way; returns the new name of the SQLite file.

        The write-ahead log goes with it under the matching name: whoever wants to rescue something needs both.
        """
        moment = (now if now is not None else datetime.now(timezone.utc)).strftime("%Y%m%dT%H%M%S%f")
        damaged = self.folder / f"events.damaged-{moment}.sqlite"
        log = self.database.with_name(self.database.name + "-wal")
        if log.exists():  # first: a log that is left behind would be played into the store that comes next
            log.rename(damaged.with_name(damaged.name + "-wal"))
        if self.database.exists():
            self.database.rename(damaged)
        self.database.with_name(self.database.name + "-shm").unlink(missing_ok=True)
        if self.samples.exists():
            self.samples.rename(self.folder / f"samples.damaged-{moment}")
        self._forget_old()
        return damaged

    def _forget_old(self) -> None:
        for pattern in ("events.damaged-*.sqlite", "events.damaged-*.sqlite-wal", "samples.damaged-*"):
            for old in sorted(self.folder.glob(pattern))[:-_KEEP_DAMAGED]:
                if old.is_dir():
                    shutil.rmtree(old, ignore_errors=True)
                else:
                    old.unlink(missing_ok=True)
