"""What the event store forgets: events beyond an age, and the oldest ones when the file grows beyond a size.

An event whose picture is still kept stays, whatever its age: the ring of pictures has limits of its own.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)
_CHUNK = 500  # events a transaction: the write-ahead log stays short
_SHRINK_TO = 0.9  # of the size limit, so that not every sweep has something to do
_PATIENCE_S = 24 * 3600.0
_DAY_MS = 24 * 3600 * 1000
_FREE = "NOT EXISTS (SELECT 1 FROM samples WHERE event_id = events.id AND removed_ms IS NULL)"


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How long and how much is kept."""

    keep_days: float = 365.0
    max_bytes: int = 200_000_000


class Retention:
    """Applies the limits, now and then. Remembers when it first found more than half of the store too old.

    So many at once means that the bin was off for a year, or that its clock has jumped, of however few there are. They
    go when the clock has said so for a day; a clock that is set right before costs nothing.
    """

    def __init__(self, limits: RetentionLimits, now_s: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._now_s = limits, now_s
        self._suspicious_since_s: float | None = None

    def sweep(self, connection: sqlite3.Connection, now_ms: int) -> int:
        """Delete what is too old or too much and give the space back; returns how many events went.

        `connection` is in autocommit mode. `sqlite3.Error` passes through.
        """
        gone = self._sweep_age(connection, now_ms - round(self._limits.keep_days * _DAY_MS))
        if used_bytes(connection) > self._limits.max_bytes:
            gone += self._sweep_size(connection)
        if gone:
            connection.execute("DELETE FROM runs WHERE NOT EXISTS (SELECT 1 FROM events WHERE run_id = runs.id)")
            connection.executescript("PRAGMA incremental_vacuum")  # `execute` would do one page and stop
        return gone

    def _sweep_age(self, connection: sqlite3.Connection, before_ms: int) -> int:
        old, total = connection.execute(
            "SELECT (SELECT count(*) FROM events WHERE time_ms < ?), (SELECT count(*) FROM events)", (before_ms,)
        ).fetchone()
        if self._must_wait(old, total) or old == 0:
            return 0
        gone = 0
        while deleted := _delete_oldest(connection, "time_ms < ?", (before_ms,)):
            gone += deleted
        return gone

    def _must_wait(self, old: int, total: int) -> bool:
        if old <= total / 2:
            self._suspicious_since_s = None
            return False
        if self._suspicious_since_s is None:
            self._suspicious_since_s = self._now_s()
            _log.warning(
                "%d of %d stored events are older than %g days, by a clock that may have jumped: kept for a day more",
                old,
                total,
                self._limits.keep_days,
            )
        return self._now_s() - self._suspicious_since_s < _PATIENCE_S

    def _sweep_size(self, connection: sqlite3.Connection) -> int:
        gone = 0
        while used_bytes(connection) > self._limits.max_bytes * _SHRINK_TO:
            deleted = _delete_oldest(connection, "1", ())
            if not deleted:
                break
            gone += deleted
        return gone


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something; the rest is given back by the next sweep."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def _delete_oldest(connection: sqlite3.Connection, condition: str, values: tuple[int, ...]) -> int:
    chosen = f"SELECT id FROM events WHERE {condition} AND {_FREE} ORDER BY id LIMIT {_CHUNK}"
    return connection.execute(f"DELETE FROM events WHERE id IN ({chosen})", values).rowcount
