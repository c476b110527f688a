"""What the API answers and takes of events, pictures and labels, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from device.samples.accuracy import Estimate
from device.samples.labels import Sample
from device.store.records import StoredEvent
from device.web.record import Record

MOST_NUMBER = 2**53
"""Numbers of events and pictures: what JSON and SQLite both hold."""


class EventAnswer(Record):
    """An event of the store."""

    id: int
    uid: str | None = Field(description="the id that brokers and web servers are told")
    time_ms: int
    kind: str
    state: str | None
    reason: str | None
    decision: str | None
    label: str | None
    confidence: float | None
    bin: str | None
    item: int | None
    frames: int | None
    took_ms: float | None
    age_ms: float | None
    mean_luma: float | None
    gamma: float | None
    clipped_fraction: float | None
    probabilities: dict[str, float]
    model: str
    source: str
    picture: int | None = Field(description="number of the picture that was kept of it")

    @classmethod
    def of(cls, stored: StoredEvent, picture: int | None) -> EventAnswer:
        """Of a row."""
        event, run = stored.event, stored.run
        names = set(cls.model_fields) - {"id", "model", "source", "picture", "probabilities"}
        return cls(
            id=stored.id,
            model=run.model,
            source=run.source,
            picture=picture,
            probabilities=dict(zip(run.classes, event.probabilities, strict=False)),
            **{name: getattr(event, name) for name in names},
        )


class EventPage(Record):
    """Events, newest first. `next` is what `before` must be for the ones before these; none at the end."""

    events: list[EventAnswer]
    next: int | None


class SampleAnswer(Record):
    """A picture that was kept."""

    id: int
    event: int
    time_ms: int
    reason: Literal["uncertain", "random"]
    guess: str | None
    confidence: float | None
    classes: list[str]
    model: str
    verdict: Literal["class", "none", "skip"] | None
    label: str | None
    removed: bool

    @classmethod
    def of(cls, sample: Sample) -> SampleAnswer:
        """Of a row."""
        return cls(
            id=sample.id,
            event=sample.event_id,
            time_ms=sample.time_ms,
            reason=sample.reason,
            guess=sample.guess,
            confidence=sample.confidence,
            classes=list(sample.classes),
            model=sample.model,
            verdict=sample.given.verdict if sample.given is not None else None,
            label=sample.given.label if sample.given is not None else None,
            removed=sample.removed,
        )


class SamplePage(Record):
    """Pictures without a label, newest first."""

    samples: list[SampleAnswer]
    next: int | None
    waiting: int = Field(description="how many there are in all")


class ClassLabel(BaseModel):
    """The picture shows one of its model's classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["class"]
    label: str = Field(min_length=1, max_length=100, description="the class")


class OtherLabel(BaseModel):
    """It shows none of the classes, or is not to be asked for again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["none", "skip"]


LabelRequest: TypeAlias = Annotated[ClassLabel | OtherLabel, Field(discriminator="verdict")]
"""What is on a picture."""


class DayAnswer(Record):
    """Decisions of one day: accepted ones by class, the others by kind."""

    day: str
    counts: dict[str, int]


class EstimateAnswer(Record):
    """A share of right guesses with its 95 % interval."""

    share: float
    low: float
    high: float
    labels: int

    @classmethod
    def of(cls, found: Estimate | None) -> EstimateAnswer | None:
        """None where there is none."""
        return None if found is None else cls(share=found.share, low=found.low, high=found.high, labels=found.labels)


class Counts(Record):
    """Decisions a day, the uncertain part of them, and how often the bin is right by the labels that were given."""

    days: list[DayAnswer]
    uncertain: float | None
    accepted_right: EstimateAnswer | None
    uncertain_right: EstimateAnswer | None
    guesses_right: EstimateAnswer | None
