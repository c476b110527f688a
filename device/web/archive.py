"""What the page reads from the event store, and the labels that it writes. One short connection a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, datetime
from http import HTTPStatus
from typing import TypeVar

from device.samples.accuracy import LiveAccuracy, live_accuracy
from device.samples.labels import Sample, SampleBook, Verdict
from device.store.paths import StorePaths
from device.store.reader import EventReader, connect_readonly, readable
from device.store.records import DayCount, StoredEvent
from device.web.problems import Refusal

Found = TypeVar("Found")

_DAY_MS = 86_400_000


class Archive:
    """Events, pictures and labels of this bin. `paths` is None where nothing is kept: then all but `kept` refuses."""

    def __init__(self, paths: StorePaths | None, wall: Callable[[], datetime]) -> None:
        self._paths, self._wall = paths, wall

    @property
    def kept(self) -> bool:
        """Whether events are kept at all."""
        return self._paths is not None

    def events(self, limit: int, before: int | None, kind: str | None, uid: str | None = None) -> list[StoredEvent]:
        """The newest events, or those before a number, or the one of an id."""
        with EventReader(self._there()) as reader:
            return reader.latest(limit, before=before, kind=kind, uid=uid)

    def event(self, number: int) -> StoredEvent:
        """One event; 404 if it is not there."""
        with EventReader(self._there()) as reader:
            found = reader.event(number)
        return _found(found, "event", number)

    def pictures_of(self, events: Sequence[StoredEvent]) -> dict[int, int]:
        """By the number of an event the number of its picture, where one was kept."""
        if not events:
            return {}
        paths, numbers = self._there(), [event.id for event in events]
        with closing(connect_readonly(paths)) as connection, readable(paths.database):
            rows = connection.execute(
                "SELECT event_id, id FROM samples WHERE removed_ms IS NULL AND event_id BETWEEN ? AND ?",
                (min(numbers), max(numbers)),
            ).fetchall()
        return dict(rows)

    def days(self, number: int) -> tuple[list[DayCount], date]:
        """Decisions a day, kind and class over the last days and a little before them, and today's date."""
        with EventReader(self._there()) as reader:  # a day more: the one on which clocks are set back has 25 hours
            return reader.day_counts(self._days_ago_ms(number + 1)), self._wall().astimezone().date()

    def uncertain_share(self, days: int) -> float | None:
        """The uncertain part of the decisions of the last days."""
        with EventReader(self._there()) as reader:
            return reader.uncertain_rate(self._days_ago_ms(days)).share

    def accuracy(self, model: str | None) -> LiveAccuracy:
        """How often a model, as the run calls it, is right by the labels; None: all that ever ran."""
        return live_accuracy(self._book(), model=model)

    def waiting(self, limit: int, before: int | None = None) -> list[Sample]:
        """Pictures without a label, newest first."""
        return self._book().waiting(limit, before=before)

    def waiting_count(self) -> int:
        """How many there are."""
        paths = self._there()
        with closing(connect_readonly(paths)) as connection, readable(paths.database):
            (count,) = connection.execute(
                "SELECT count(*) FROM samples WHERE removed_ms IS NULL AND id NOT IN (SELECT sample_id FROM labels)"
            ).fetchone()
        return int(count)

    def sample(self, number: int) -> Sample:
        """One picture; 404 if it is not there."""
        return _found(self._book().sample(number), "picture", number)

    def picture(self, number: int) -> tuple[str, bytes]:
        """The name of a picture, which no other has, and its JPEG; 404 if it is not there (any more)."""
        sample = self.sample(number)
        try:
            return sample.file, self._book().path(sample).read_bytes()
        except FileNotFoundError:
            raise Refusal(HTTPStatus.NOT_FOUND, f"picture {number} was removed to make room") from None

    def label(self, number: int, verdict: Verdict, label: str | None, name: str | None = None) -> None:
        """Say what is on a picture; 404 without the picture, 409 for a class that its model does not know.

        With its `name` only if it is still the one that was looked at: a store that is begun anew counts anew.
        """
        sample = self.sample(number)
        if name is not None and name != sample.file:
            raise Refusal(HTTPStatus.CONFLICT, f"picture {number} is another one now; look at it again")
        if verdict == "class" and label not in sample.classes:
            known = ", ".join(sample.classes)
            raise Refusal(HTTPStatus.CONFLICT, f"no such class; this picture's model knows {known}")
        self._book().give(number, verdict, label)

    def _days_ago_ms(self, days: int) -> int:
        return round(self._wall().timestamp() * 1000) - days * _DAY_MS

    def _book(self) -> SampleBook:
        return SampleBook(self._there())

    def _there(self) -> StorePaths:
        if self._paths is None:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, 'nothing is kept: [store] enabled = "on" keeps recordings, too'
            )
        return self._paths


def _found(value: Found | None, what: str, number: int) -> Found:
    if value is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"there is no {what} {number}")
    return value
