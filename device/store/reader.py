"""Reads the event store while the daemon writes it, or while it does not: for the command line and the bin's page.

Opening one costs a millisecond; it belongs to the thread that opened it. Nothing here ever writes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from device.store.database import EVENT_COLUMNS
from device.store.paths import StorePaths
from device.store.records import DayCount, EventRecord, RunRecord, StoredEvent, UncertainRate
from device.store.schema import SCHEMA_VERSION, version_of
from smartbin.errors import StoreError

_BUSY_S = 5.0
_RUN_COLUMNS = ("uid", "started_ms", "source", "model", "model_name", "model_version", "runtime", "classes")
_SELECT = (
    f"SELECT events.id, {', '.join(f'runs.{name}' for name in _RUN_COLUMNS)}, "
    f"{', '.join(f'events.{name}' for name in EVENT_COLUMNS)} FROM events JOIN runs ON runs.id = events.run_id"
)
MAX_PAGE = 1000


class EventReader:
    """Reads events. `StoreError` for a store that is not there, damaged, or of another version than this program's."""

    def __init__(self, paths: StorePaths) -> None:
        self._path = paths.database
        self._connection = connect_readonly(paths)

    def __enter__(self) -> EventReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close."""
        self._connection.close()

    def latest(
        self,
        limit: int = 50,
        *,
        before: int | None = None,
        kind: str | None = None,
        since_ms: int | None = None,
        uid: str | None = None,
    ) -> list[StoredEvent]:
        """The newest events, newest first, at most `limit` (1 to 1000) of them.

        The next page is `before` the number of the last one: numbers, unlike times, never go back. `kind` is decision
        or lifecycle. `uid` is the id that brokers and web servers are told: one event has it, at most.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit must be 1 to {MAX_PAGE}, but got {limit}")
        conditions = {"events.id < ?": before, "kind = ?": kind, "time_ms >= ?": since_ms, "events.uid = ?": uid}
        return self._events(conditions, limit)

    def event(self, number: int) -> StoredEvent | None:
        """One event by its number, None if there is none."""
        found = self._events({"events.id = ?": number}, 1)
        return found[0] if found else None

    def day_counts(self, since_ms: int = 0, *, utc: bool = False) -> list[DayCount]:
        """Decisions a day, kind and label, oldest day first. Days are those of this machine's time zone, or UTC's.

        Only accepted decisions are counted by label: the others' is a guess that was not acted on.
        """
        zone = "" if utc else ", 'localtime'"
        rows = self._fetch(
            f"SELECT date(time_ms / 1000, 'unixepoch'{zone}) AS day, decision, "
            "CASE decision WHEN 'accepted' THEN label END AS said, count(*) FROM events "
            "WHERE kind = 'decision' AND time_ms >= ? GROUP BY day, decision, said ORDER BY day, decision, said",
            (since_ms,),
        )
        return [DayCount(*row) for row in rows]

    def uncertain_rate(self, since_ms: int = 0) -> UncertainRate:
        """How many decisions since then were uncertain."""
        ((uncertain, decisions),) = self._fetch(
            "SELECT coalesce(sum(decision = 'uncertain'), 0), count(*) FROM events "
            "WHERE kind = 'decision' AND time_ms >= ?",
            (since_ms,),
        )
        return UncertainRate(uncertain, decisions)

    def _events(self, conditions: dict[str, int | str | None], limit: int) -> list[StoredEvent]:
        given = {text: value for text, value in conditions.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        rows = self._fetch(f"{_SELECT}{where} ORDER BY events.id DESC LIMIT ?", (*given.values(), limit))
        return [_stored(row) for row in rows]

    def _fetch(self, statement: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]
        with readable(self._path):
            return self._connection.execute(statement, values).fetchall()


def connect_readonly(paths: StorePaths) -> sqlite3.Connection:
    """A connection that cannot write; `StoreError` if there is no store of this version."""
    path = paths.database
    if not path.exists():
        raise StoreError(
            "there are no events here",
            where=path,
            fix='run the bin with [store] enabled = "on", or name the store\'s folder in [store] folder',
        )
    with readable(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_S, check_same_thread=False
        )
        try:
            version = version_of(connection)
        except BaseException:
            connection.close()
            raise
    if version != SCHEMA_VERSION:
        connection.close()
        newer = version > SCHEMA_VERSION
        raise StoreError(
            "the event store is of another version",
            where=path,
            found=f"schema {version}",
            expected=f"schema {SCHEMA_VERSION}",
            fix="read it with the smartbin that wrote it"
            if newer
            else "start smartbin run once: it brings it up to date",
        )
    return connection


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn SQLite's errors in the body into `StoreError`s that name the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            "the event store cannot be used",
            where=path,
            found=error,
            fix="check its permissions; a damaged one is put aside by the next smartbin run",
        ) from error


def _stored(row: tuple) -> StoredEvent:  # type: ignore[type-arg]
    run = dict(zip(_RUN_COLUMNS, row[1:], strict=False))
    run["classes"] = tuple(json.loads(run["classes"]))
    event = dict(zip(EVENT_COLUMNS, row[1 + len(_RUN_COLUMNS) :], strict=True))
    event["probabilities"] = tuple(json.loads(event["probabilities"] or "[]"))
    event["stage_ms"] = tuple((name, value) for name, value in json.loads(event["stage_ms"] or "[]"))
    return StoredEvent(row[0], RunRecord(**run), EventRecord(**event))
