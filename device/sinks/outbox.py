"""Events on their way to a broker, on disk until it has them: a restart of the bin or of the broker loses none.

SQLite with a write-ahead log that is synced at every commit. Where the disk is full or read-only, events go on in
memory, and this is said aloud; a damaged file is moved aside, and this is said aloud, too. One thread uses it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from device.damaged_database import put_aside

_log = logging.getLogger(__name__)
_SCHEMA = "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, payload BLOB NOT NULL)"


class Letter(NamedTuple):
    """One event that waits. Numbers grow; they are this outbox's own."""

    number: int
    payload: bytes


class Outbox:
    """At most `limit` events, oldest first; beyond it the oldest make room and are counted."""

    def __init__(self, path: Path, limit: int) -> None:
        self._limit = limit
        self._database = _open(path)
        self._spare: deque[Letter] = deque()  # what the disk did not take
        self._sent: set[int] = set()  # what could not be deleted from the disk
        self._spare_is_said = False
        rows = self._database.execute("SELECT COUNT(*), COALESCE(MAX(number), 0) FROM outbox").fetchone()
        self._on_disk, self._last = int(rows[0]), int(rows[1])
        self.dropped = 0

    def __len__(self) -> int:
        return self._on_disk - len(self._sent) + len(self._spare)

    def append(self, *payloads: bytes) -> None:
        """Keep events; when this returns they are on the disk, synced once, or the disk does not take them."""
        letters = [Letter(self._last + 1 + index, payload) for index, payload in enumerate(payloads)]
        self._last += len(letters)
        try:
            with self._database:
                self._database.executemany("INSERT INTO outbox VALUES (?, ?)", letters)
            self._on_disk += len(letters)
            self._spare_is_said = False
        except sqlite3.Error as error:
            self._spare.extend(letters)
            if not self._spare_is_said:
                self._spare_is_said = True
                _log.error("the disk takes no events for the broker, they wait in memory: %s", error)
        if (beyond := len(self) - self._limit) > 0:
            self.remove([letter.number for letter in self.after(0, beyond)])
            self.dropped += beyond

    def after(self, number: int, limit: int) -> list[Letter]:
        """Up to `limit` events with greater numbers, oldest first."""
        query = "SELECT number, payload FROM outbox WHERE number > ? ORDER BY number LIMIT ?"
        rows = self._database.execute(query, (number, limit + len(self._sent))).fetchall()
        found = [Letter(*row) for row in rows if row[0] not in self._sent]
        found += [letter for letter in self._spare if letter.number > number]
        return sorted(found)[:limit]

    def remove(self, numbers: Iterable[int]) -> None:
        """The broker has these."""
        gone = set(numbers)
        kept = deque(letter for letter in self._spare if letter.number not in gone)
        gone -= {letter.number for letter in self._spare}
        self._spare = kept
        self._sent |= gone
        if not self._sent:
            return
        try:
            with self._database:
                deleted = self._database.executemany(
                    "DELETE FROM outbox WHERE number = ?", [(number,) for number in self._sent]
                ).rowcount
        except sqlite3.Error:
            return  # tried again with the next ones; until then a restart sends these twice, which receivers can tell
        self._on_disk -= deleted
        self._sent.clear()

    def close(self) -> None:
        """Close the file; what is in it stays."""
        if self._spare:
            _log.error("%d events for the broker were in memory only and are lost", len(self._spare))
        self._database.close()


def _open(path: Path) -> sqlite3.Connection:
    """The database, new where there is none or a damaged one; in memory where the disk allows none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _connect(str(path))
    except sqlite3.OperationalError as error:
        trouble: object = error
    except sqlite3.DatabaseError as error:
        try:
            aside = put_aside(path)
            _log.error("%s is damaged (%s): moved to %s, begun anew", path, error, aside.name)
            return _connect(str(path))
        except (OSError, sqlite3.Error) as second:
            trouble = second
    except OSError as error:
        trouble = error
    _log.error("events for the broker do not survive a restart, %s cannot be used: %s", path, trouble)
    return _connect(":memory:")


def _connect(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if (verdict := database.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(verdict)
        with database:
            database.execute(_SCHEMA)
        database.execute("SELECT number, payload FROM outbox LIMIT 1").fetchall()
    except BaseException:
        database.close()
        raise
    return database
