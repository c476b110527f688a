"""Where the store lies, who may write it, and how a damaged one is put aside.

FOLDER/events.sqlite                   the store, with -wal and -shm beside it while it is open
FOLDER/samples/                        the pictures that its rows name
FOLDER/.lock                           held by the daemon that writes
FOLDER/*.damaged-TIME…                 what was put aside, the newest few
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from device.damaged_database import put_aside
from smartbin.errors import ConfigError


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
        """Rename the store and its pictures out of the way; returns the new name of the SQLite file."""
        return put_aside(self.database, self.samples, now)
