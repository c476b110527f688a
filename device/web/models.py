"""What the API answers and takes, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from device.decision import Decision, DecisionKind, JudgeState
from device.events import Lifecycle
from device.samples.accuracy import Estimate
from device.samples.labels import Sample
from device.status import BinStatus, Told
from device.store.records import StoredEvent
from device.web.machine_load import MachineLoad
from smartbin.brightness import LightState

MOST_NUMBER = 2**53
"""Numbers of events and pictures: what JSON and SQLite both hold."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Answer(_Answer):
    """A decision."""

    time_ms: int = Field(description="time of day, milliseconds since 1970")
    kind: DecisionKind
    label: str | None = Field(description="the class; of an uncertain one the best guess")
    confidence: float
    bin: str = Field(description="the flap")
    item: int
    frames: int
    took_s: float

    @classmethod
    def of(cls, told: Told) -> Answer:
        """Of a decision that was told."""
        decision = told.decision
        return cls(
            time_ms=told.time_ms,
            kind=decision.kind,
            label=decision.label,
            confidence=round(decision.confidence, 4),
            bin=decision.bin,
            item=decision.item,
            frames=decision.frames,
            took_s=round(decision.decided_s - decision.arrived_s, 3),
        )


class Box(_Answer):
    """A part of the picture, in parts of its width and height."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of(cls, box: tuple[float, float, float, float] | None) -> Box | None:
        """None where there is none."""
        return None if box is None else cls(left=box[0], top=box[1], width=box[2], height=box[3])


class LiveState(_Answer):
    """What the bin sees and thinks at this moment."""

    lifecycle: Lifecycle
    reason: str | None
    state: JudgeState | None = Field(description="of the item state machine; none before the first frame")
    learning: bool = Field(description="the empty bin is being learned")
    item: int
    box: Box | None = Field(description="around the item that is there")
    region: Box | None = Field(description="what is looked at; none: the whole picture")
    light: LightState | None
    mean_luma: float | None
    gamma: float | None = Field(description="1: the picture was not corrected")
    clipped_fraction: float | None
    fps: float
    frame: int
    without_frame_s: float
    answer: Answer | None = Field(description="the decision on the item that is there")
    probabilities: dict[str, float] = Field(description="of the decision, else of the newest frame")

    @classmethod
    def of(cls, status: BinStatus) -> LiveState:
        """Of this moment."""
        view, session = status.view, status.session
        told = status.told[-1] if status.told else None
        seen = view if status.lifecycle == "RUNNING" else None  # of a lost camera the newest frame is an old one
        answer = told if seen is not None and seen.state in ("DECIDED", "CLEARING", "WATCHING") else None
        shown: Decision | None = answer.decision if answer is not None else None
        prediction = shown.prediction if shown is not None else seen.prediction if seen is not None else None
        return cls(
            lifecycle=status.lifecycle,
            reason=status.reason,
            state=view.state if view is not None else None,
            learning=view.presence.learning if view is not None else False,
            item=view.item if view is not None else 0,
            box=Box.of(seen.presence.box) if seen is not None else None,
            region=Box.of(view.region) if view is not None else None,
            light=view.light if view is not None else None,
            mean_luma=round(view.exposure.mean_luma, 3) if view is not None else None,
            gamma=round(view.exposure.gamma, 3) if view is not None else None,
            clipped_fraction=round(view.exposure.clipped_fraction, 3) if view is not None else None,
            fps=round(view.fps, 1) if view is not None else 0.0,
            frame=view.seq if view is not None else 0,
            without_frame_s=round(status.without_frame_s, 1),
            answer=None if answer is None else Answer.of(answer),
            probabilities={}
            if prediction is None or session is None
            else {name: round(p, 4) for name, p in zip(session.classes, prediction.probabilities, strict=False)},
        )


_Part = Annotated[float, Field(ge=0, le=1)]


class RegionRequest(BaseModel):
    """The part of the picture to look at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: tuple[_Part, _Part, _Part, _Part] | None = Field(
        description="[x, y, width, height] in parts of the picture, within it, each side at least 0.05; null: all of it"
    )


class EventAnswer(_Answer):
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


class EventPage(_Answer):
    """Events, newest first. `next` is what `before` must be for the ones before these; none at the end."""

    events: list[EventAnswer]
    next: int | None


class SampleAnswer(_Answer):
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


class SamplePage(_Answer):
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


class DayAnswer(_Answer):
    """Decisions of one day: accepted ones by class, the others by kind."""

    day: str
    counts: dict[str, int]


class EstimateAnswer(_Answer):
    """A share of right guesses with its 95 % interval."""

    share: float
    low: float
    high: float
    labels: int

    @classmethod
    def of(cls, found: Estimate | None) -> EstimateAnswer | None:
        """None where there is none."""
        return None if found is None else cls(share=found.share, low=found.low, high=found.high, labels=found.labels)


class Counts(_Answer):
    """Decisions a day, the uncertain part of them, and how often the bin is right by the labels that were given."""

    days: list[DayAnswer]
    uncertain: float | None
    accepted_right: EstimateAnswer | None
    uncertain_right: EstimateAnswer | None
    guesses_right: EstimateAnswer | None


class QueueAnswer(_Answer):
    """Somebody's queue."""

    name: str
    waiting: int
    dropped: int
    failures: int
    failing: str


class StageAnswer(_Answer):
    """How long a stage takes, milliseconds, over the newest 10 000 runs."""

    stage: str
    p50_ms: float
    p95_ms: float
    max_ms: float


class HealthAnswer(_Answer):
    """How the bin is doing."""

    ready: bool
    trouble: list[str]
    lifecycle: Lifecycle
    uptime_s: float
    frames: int
    captured: int
    overwritten: int
    too_old: int
    reconnects: int
    refused: dict[str, int] = Field(description="frames that could not be used, by reason")
    repeated: int = Field(description="frames that came again unchanged")
    queues: list[QueueAnswer]
    stages: list[StageAnswer]
    load: MachineLoad


class OfferAnswer(_Answer):
    """A bundle that may be installed, by its name."""

    name: str
    told: str


class ModelAnswer(_Answer):
    """The models of this bin."""

    running: str
    classes: list[str]
    runtime: str
    passed_over: list[str] = Field(description="why no faster runtime is used, a sentence each")
    min_confidence: float
    installed: str | None = Field(description="none: the built-in one runs, or a configured one")
    previous: str | None
    fixed: bool = Field(description="the configuration names the bundle, whatever is installed")
    offers: list[OfferAnswer]
    card: str = Field(description="the model card, Markdown")


class InstallRequest(BaseModel):
    """Which of the offered bundles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=128)


class Done(_Answer):
    """What was done."""

    told: str


class Yes(_Answer):
    """Whether it is so, and if not, why."""

    ok: bool
    trouble: list[str] = []
