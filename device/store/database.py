"""The event store, open for writing: one SQLite file in WAL mode, one connection, used by one thread.

`synchronous = FULL`: in WAL mode SQLite then syncs the log at every commit, so that what was committed is on the disk
when the power goes. With NORMAL, the usual choice, a power cut takes the last commits away (sqlite.org/wal.html,
"durability"). It costs one sync a commit, and a bin decides a few times a minute.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from urllib.parse import quote

from device.store.paths import StorePaths
from device.store.records import EventRecord, RunRecord
from device.store.schema import migrate, refuse_newer

_BUSY_S = 5.0  # labels are written by other connections, each in a moment
_WAL_LIMIT_BYTES = 8_000_000
_CACHE_KIB = 256  # rows are added at the end and taken away at the front; SQLite's 2,000 fill up over weeks
EVENT_COLUMNS = tuple(field.name for field in fields(EventRecord))
_AS_JSON = {"probabilities", "stage_ms"}
_INSERT = (
    f"INSERT INTO events (run_id, {', '.join(EVENT_COLUMNS)}) VALUES (?, {', '.join('?' * len(EVENT_COLUMNS))}) "
    "ON CONFLICT (run_id, seq) DO NOTHING"
)


class EventStore:
    """Writes events. Opening it makes the file, if it is not there."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    @classmethod
    def open(cls, paths: StorePaths, *, check: bool = True, checkpoint_pages: int = 1000) -> EventStore:
        """Open, `check` the whole file and bring it to this version.

        `sqlite3.DatabaseError` itself (no subclass) if it is damaged, `sqlite3.OperationalError` or `OSError` if the
        disk does not let us, `ConfigError` if a newer smartbin has written it.
        """
        paths.folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(paths.database, timeout=_BUSY_S, isolation_level=None)
        try:
            refuse_newer(connection, paths.database)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # holds for a new file only
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            if check:
                _check(connection)
            migrate(connection, paths.database)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def add(self, run: RunRecord, events: Sequence[EventRecord]) -> list[int]:
        """Commit events of a run, all or none; returns their numbers. One that is there already is not added again."""
        with self.transaction() as connection:
            run_id = _run_id(connection, run)
            return [_add(connection, run_id, event) for event in events]

    def event_id(self, run_uid: str, seq: int) -> int | None:
        """The number of an event of a run, None if it is not there."""
        row = self.connection.execute(
            "SELECT events.id FROM events JOIN runs ON runs.id = run_id WHERE runs.uid = ? AND seq = ?", (run_uid, seq)
        ).fetchone()
        return None if row is None else int(row[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction around the body: committed at its end, rolled back if it raises."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # a full disk may have ended it already
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close; the last one to do so folds the log into the file."""
        self.connection.close()


def check_version(paths: StorePaths) -> None:
    """`ConfigError` if a newer smartbin has written the store. Nothing is changed; a damaged one is not noticed."""
    if not paths.database.exists():
        return
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{quote(str(paths.database))}?mode=ro", uri=True, timeout=_BUSY_S)
        try:
            refuse_newer(connection, paths.database)
        finally:
            connection.close()


def is_damage(error: BaseException) -> bool:
    """Whether an error says that the file is damaged, rather than that the disk is full, busy or not ours."""
    return type(error) is sqlite3.DatabaseError  # its subclasses are all something else


def _check(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _run_id(connection: sqlite3.Connection, run: RunRecord) -> int:
    values = (run.uid, run.started_ms, run.source, run.model, run.model_name, run.model_version, run.runtime)
    connection.execute(
        "INSERT INTO runs (uid, started_ms, source, model, model_name, model_version, runtime, classes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uid) DO NOTHING",
        (*values, json.dumps(run.classes, ensure_ascii=False)),
    )
    (number,) = connection.execute("SELECT id FROM runs WHERE uid = ?", (run.uid,)).fetchone()
    return int(number)


def _add(connection: sqlite3.Connection, run_id: int, event: EventRecord) -> int:
    values = (_to_column(name, getattr(event, name)) for name in EVENT_COLUMNS)
    connection.execute(_INSERT, (run_id, *values))
    (number,) = connection.execute("SELECT id FROM events WHERE run_id = ? AND seq = ?", (run_id, event.seq)).fetchone()
    return int(number)


def _to_column(name: str, value: object) -> object:
    if name not in _AS_JSON:
        return value
    return json.dumps(value) if value else None
