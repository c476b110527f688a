"""The tables of the event store, version by version, and the steps from each to the next.

`PRAGMA user_version` is the version. A change of the tables is a new entry at the end of `MIGRATIONS`, never one
of an entry that was shipped.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from smartbin.errors import ConfigError

_EVENTS = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  started_ms INTEGER NOT NULL,
  source TEXT NOT NULL,
  model TEXT NOT NULL,
  model_name TEXT NOT NULL,
  model_version TEXT NOT NULL,
  runtime TEXT NOT NULL,
  classes TEXT NOT NULL
);
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id INTEGER NOT NULL REFERENCES runs (id),
  seq INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('decision', 'lifecycle')),
  state TEXT, reason TEXT,
  decision TEXT, item INTEGER, label TEXT, bin TEXT, confidence REAL, margin REAL, energy REAL, probabilities TEXT,
  frames INTEGER, took_ms REAL,
  light TEXT, mean_luma REAL, clipped_fraction REAL, gamma REAL, age_ms REAL, stage_ms TEXT, truth TEXT, origin TEXT,
  UNIQUE (run_id, seq)
);
CREATE INDEX events_by_time ON events (time_ms);
"""

_SAMPLES = """
CREATE TABLE samples (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id INTEGER NOT NULL UNIQUE REFERENCES events (id) ON DELETE CASCADE,
  time_ms INTEGER NOT NULL,
  reason TEXT NOT NULL CHECK (reason IN ('uncertain', 'random')),
  share REAL NOT NULL CHECK (share > 0 AND share <= 1),
  file TEXT NOT NULL UNIQUE,
  bytes INTEGER NOT NULL,
  hash TEXT NOT NULL,
  removed_ms INTEGER,
  exported_ms INTEGER
);
CREATE INDEX samples_by_time ON samples (time_ms);
CREATE TABLE labels (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
  time_ms INTEGER NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('class', 'none', 'skip')),
  label TEXT CHECK ((label IS NOT NULL) = (verdict = 'class'))
);
CREATE INDEX labels_by_sample ON labels (sample_id, id);
CREATE VIEW current_labels AS
  SELECT * FROM labels AS given
  WHERE id = (SELECT max(id) FROM labels WHERE sample_id = given.sample_id);
"""

_EVENT_UIDS = """
ALTER TABLE events ADD COLUMN uid TEXT;
CREATE INDEX events_by_uid ON events (uid) WHERE uid IS NOT NULL;
"""

_STANDS_FOR = """
ALTER TABLE samples ADD COLUMN stands_for REAL NOT NULL DEFAULT 0;
"""

MIGRATIONS: tuple[str, ...] = (_EVENTS, _SAMPLES, _EVENT_UIDS, _STANDS_FOR)
"""Entry n makes version n + 1 of version n."""
SCHEMA_VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of an open store; 0 for an empty file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """`ConfigError` if a later smartbin has written this store."""
    if (version := version_of(connection)) > SCHEMA_VERSION:
        raise ConfigError(
            "the event store was written by a newer smartbin; it was left as it is",
            where=path,
            found=f"schema {version}",
            expected=f"schema {SCHEMA_VERSION} or older",
            fix="run that smartbin, or name another folder in [store] folder",
        )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a store to `SCHEMA_VERSION`, all steps or none; `ConfigError` for a newer one, which is not touched.

    The connection is in autocommit mode (`isolation_level=None`).
    """
    refuse_newer(connection, path)
    if version_of(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in MIGRATIONS[version_of(connection) :]:
            for statement in step.split(";\n"):  # `executescript` would commit what was begun
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
