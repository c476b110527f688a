"""The kept pictures and their labels: read for the page and the command line, and labels given.

Reading opens the store read-only; a label is a short transaction of its own, beside the daemon that writes.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from device.samples.picker import Reason
from device.store.paths import StorePaths
from device.store.reader import connect_readonly, readable
from smartbin.errors import StoreError

Verdict: TypeAlias = Literal["class", "none", "skip"]

_BUSY_S = 5.0
_SELECT = """
SELECT samples.id, event_id, samples.time_ms, samples.reason, share, stands_for, file, decision, events.label,
  confidence, classes, runs.model, verdict, current_labels.label, current_labels.time_ms, removed_ms IS NOT NULL,
  exported_ms IS NOT NULL
FROM samples JOIN events ON events.id = event_id JOIN runs ON runs.id = run_id
  LEFT JOIN current_labels ON sample_id = samples.id
"""


@dataclass(frozen=True, slots=True)
class Given:
    """The newest label of a picture: a class, none of the classes, or skipped."""

    verdict: Verdict
    label: str | None
    time_ms: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A kept picture, what the model thought (`guess`, None if it thought nothing), and its label if it has one.

    `share` is the chance with which it was drawn; `stands_for` the weight, 1 / share each, of other drawn decisions
    whose pictures looked the same and were not kept. A removed one has no file any more, but its label still counts.
    """

    id: int
    event_id: int
    time_ms: int
    reason: Reason
    share: float
    stands_for: float
    file: str
    decision: str
    guess: str | None
    confidence: float
    classes: tuple[str, ...]
    model: str
    given: Given | None
    removed: bool
    exported: bool


class SampleBook:
    """Pictures and labels of one store; `StoreError` if it cannot be opened. For one thread."""

    def __init__(self, paths: StorePaths) -> None:
        self._paths = paths

    def waiting(self, limit: int = 50, *, before: int | None = None) -> list[Sample]:
        """Pictures without a label, newest first; the next page is `before` the number of the last one."""
        where = "WHERE removed_ms IS NULL AND verdict IS NULL AND samples.id < ? ORDER BY samples.id DESC LIMIT ?"
        return self._samples(where, (before if before is not None else 2**62, limit))

    def labelled(self) -> list[Sample]:
        """All pictures with a label, oldest first; also those that were removed since."""
        return self._samples("WHERE verdict IS NOT NULL ORDER BY samples.id", ())

    def sample(self, number: int) -> Sample | None:
        """One picture by its number, None if it is not there."""
        found = self._samples("WHERE samples.id = ?", (number,))
        return found[0] if found else None

    def path(self, sample: Sample) -> Path:
        """Where its file is."""
        return self._paths.samples / sample.file

    def give(self, number: int, verdict: Verdict, label: str | None = None, *, now_ms: int | None = None) -> None:
        """Give a picture a label; the newest one counts. `StoreError` for a picture or class that is not there."""
        sample = self.sample(number)
        if sample is None:
            raise StoreError("there is no such picture", where=self._paths.database, found=number)
        if verdict == "class" and label not in sample.classes:
            raise StoreError(
                "no such class", where=f"picture {number}", found=label, expected=", ".join(sample.classes)
            )
        moment = now_ms if now_ms is not None else int(time.time() * 1000)
        values = (number, moment, verdict, label if verdict == "class" else None)
        self._change("INSERT INTO labels (sample_id, time_ms, verdict, label) VALUES (?, ?, ?, ?)", [values])

    def mark_exported(self, samples: Sequence[Sample], *, now_ms: int | None = None) -> None:
        """From now on these may make room for new ones."""
        moment = now_ms if now_ms is not None else int(time.time() * 1000)
        self._change("UPDATE samples SET exported_ms = ? WHERE id = ?", [(moment, sample.id) for sample in samples])

    def decisions(self, since_ms: int = 0, model: str | None = None) -> dict[str, int]:
        """Decisions since then by kind; with `model` only this one's."""
        rows = self._fetch(
            "SELECT decision, count(*) FROM events JOIN runs ON runs.id = run_id WHERE kind = 'decision' "
            "AND time_ms >= ? AND (? IS NULL OR model = ?) GROUP BY decision",
            (since_ms, model, model),
        )
        return dict(rows)

    def _samples(self, where: str, values: Sequence[object]) -> list[Sample]:
        return [_sample(row) for row in self._fetch(_SELECT + where, values)]

    def _fetch(self, statement: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]
        with closing(connect_readonly(self._paths)) as connection, readable(self._paths.database):
            return connection.execute(statement, values).fetchall()

    def _change(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        with readable(self._paths.database), closing(sqlite3.connect(self._paths.database, timeout=_BUSY_S)) as store:
            store.execute("PRAGMA synchronous = FULL")
            store.execute("PRAGMA foreign_keys = ON")
            with store:
                store.executemany(statement, rows)


def _sample(row: tuple) -> Sample:  # type: ignore[type-arg]
    number, event_id, time_ms, reason, share, stands_for, file, decision, guess, confidence, classes, model = row[:12]
    verdict, label, labelled_ms, removed, exported = row[12:]
    given = Given(verdict, label, labelled_ms) if verdict is not None else None
    known = tuple(json.loads(classes))
    return Sample(
        number,
        event_id,
        time_ms,
        reason,
        share,
        stands_for,
        file,
        decision,
        guess,
        confidence,
        known,
        model,
        given,
        bool(removed),
        bool(exported),
    )
