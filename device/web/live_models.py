"""What the API answers and takes of this moment, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from device.decision import Decision, DecisionKind, JudgeState
from device.events import Lifecycle
from device.status import BinStatus, Told
from device.web.record import Record
from smartbin.brightness import LightState


class Answer(Record):
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


class Box(Record):
    """A part of the picture, in parts of its width and height."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of(cls, box: tuple[float, float, float, float] | None) -> Box | None:
        """None where there is none."""
        return None if box is None else cls(left=box[0], top=box[1], width=box[2], height=box[3])


class LiveState(Record):
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
