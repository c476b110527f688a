"""What goes into a decision, what comes out, and its settings. The judges are in `item_judge` and `frame_judges`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from smartbin.brightness import Exposure, LightState
from smartbin.errors import ConfigError
from smartbin.prediction import Prediction, RejectThresholds, decide

DecisionKind: TypeAlias = Literal["accepted", "uncertain", "too_dark", "too_bright"]
JudgeState: TypeAlias = Literal["EMPTY", "ARRIVING", "JUDGING", "DECIDED", "CLEARING", "WATCHING"]
Mode: TypeAlias = Literal["item", "continuous", "every_frame"]

UNCERTAIN_BIN = "uncertain"


class DecisionSettings(BaseModel):
    """When the bin makes up its mind, and which flap it opens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["auto", "item", "continuous", "every_frame"] = Field(
        default="auto",
        description="item: one decision an item; continuous: a decision whenever the answer changes; every_frame: each "
        "picture is an item of its own; auto: every_frame for photos, item for everything else",
    )
    arrive_s: float = Field(default=0.15, ge=0, description="something must be there for so long to be an item")
    leave_s: float = Field(default=0.25, ge=0, description="it must be gone for so long to have left")
    clear_s: float = Field(default=0.3, ge=0, description="and the bin empty for so long before the next item counts")
    settle_limit_s: float = Field(default=4.0, gt=0, description="an item that never lies still is judged anyway then")
    min_still_s: float = Field(
        default=0.09,
        ge=0,
        description="so long it lies still before an early answer; what left sooner was only passing, as a hand does",
    )
    min_frames: int = Field(default=3, ge=1, description="still frames before an early, decisive answer")
    max_frames: int = Field(default=12, ge=1, description="still frames after which the answer is given")
    time_limit_s: float = Field(default=2.0, gt=0, description="after so long in judging the answer is given")
    decisive_margin: float = Field(default=0.5, ge=0, le=1, description="lead over the second class that ends judging")
    sharpness_ratio: float = Field(
        default=0.4, ge=0, le=1, description="frames below this part of the sharpest are left out"
    )
    window: int = Field(default=5, ge=1, description="frames that the continuous answer is the mean of")
    bins: dict[str, str] = Field(
        default_factory=dict,
        description="which bin a class goes to; a class that is not here has a bin of its own name",
    )
    uncertain_bin: str = Field(default="general", min_length=1, description="the bin of everything undecided")

    @model_validator(mode="after")
    def _check_frames(self) -> DecisionSettings:
        if self.min_frames > self.max_frames:
            raise ValueError("min_frames must not be above max_frames")
        in_table = self.bins.get(UNCERTAIN_BIN, self.uncertain_bin)
        if in_table != self.uncertain_bin and "uncertain_bin" in self.model_fields_set:
            raise ValueError(f"uncertain_bin is {self.uncertain_bin}, and bins.uncertain {in_table}: give one of them")
        return self

    @property
    def undecided_bin(self) -> str:
        """The bin of everything undecided: the table's `uncertain`, else `uncertain_bin`."""
        return self.bins.get(UNCERTAIN_BIN, self.uncertain_bin)


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of one frame. `prediction` is None where none was asked for."""

    present: bool
    still: bool
    light: LightState
    exposure: Exposure
    prediction: Prediction | None = None
    sharpness: float = 1.0
    truth: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one item: it never changes. Times are monotonic seconds."""

    kind: DecisionKind
    label: str | None
    confidence: float
    bin: str
    item: int
    frames: int
    arrived_s: float
    decided_s: float
    exposure: Exposure
    prediction: Prediction | None = None
    truth: str | None = None

    @property
    def right(self) -> bool | None:
        """Whether the label is the true one; None where the truth is not known or nothing was accepted."""
        return None if self.truth is None or self.kind != "accepted" else self.label == self.truth


@dataclass(frozen=True, slots=True)
class Sighting:
    """One item as it was seen: its number, when it came and was decided, in what light, and what it truly is."""

    item: int
    arrived_s: float
    decided_s: float
    exposure: Exposure
    truth: str | None = None


class Judge(Protocol):
    """Turns observations over time into decisions. Pure: no camera, no thread, no clock."""

    @property
    def state(self) -> JudgeState:
        """Where it stands."""
        ...

    @property
    def item(self) -> int:
        """The number of the newest item, 0 before the first."""
        ...

    def wants_prediction(self, observation: Observation) -> bool:
        """Whether a prediction for this frame could matter; without it the frame need not be classified."""
        ...

    def update(self, now_s: float, observation: Observation) -> Decision | None:
        """Take in one frame at `now_s`, which never goes backwards; a decision, when it falls."""
        ...

    def finish(self, now_s: float) -> Decision | None:
        """There are no more frames: the decision on what is there undecided, if anything was seen of it."""
        ...


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Turns a mean prediction into a decision: the bundle's thresholds and classes, the deployment's bins."""

    classes: tuple[str, ...]
    thresholds: RejectThresholds
    bins: dict[str, str]
    uncertain_bin: str

    def give(self, prediction: Prediction, frames: int, sighting: Sighting) -> Decision:
        """Accepted or uncertain; an uncertain one keeps its best guess as label, but goes to the uncertain bin."""
        kind = decide(prediction, self.thresholds)
        bin_name = self.bins.get(prediction.label, prediction.label) if kind == "accepted" else self.uncertain_bin
        return self._decision(kind, prediction.label, prediction.confidence, bin_name, frames, sighting, prediction)

    def refuse(self, kind: Literal["uncertain", "too_dark", "too_bright"], sighting: Sighting) -> Decision:
        """No guess at all."""
        return self._decision(kind, None, 0.0, self.uncertain_bin, 0, sighting, None)

    def _decision(
        self,
        kind: DecisionKind,
        label: str | None,
        confidence: float,
        bin_name: str,
        frames: int,
        sighting: Sighting,
        prediction: Prediction | None,
    ) -> Decision:
        return Decision(
            kind=kind,
            label=label,
            confidence=confidence,
            bin=bin_name,
            item=sighting.item,
            frames=frames,
            arrived_s=sighting.arrived_s,
            decided_s=sighting.decided_s,
            exposure=sighting.exposure,
            prediction=prediction,
            truth=sighting.truth,
        )


def make_verdicts(settings: DecisionSettings, classes: Sequence[str], thresholds: RejectThresholds) -> Verdicts:
    """Check the table of bins against the model's classes; `ConfigError` for a class that the model does not know."""
    if unknown := sorted(set(settings.bins) - set(classes) - {UNCERTAIN_BIN}):
        raise ConfigError(
            "the table of bins names classes that the model does not know",
            where="decision.bins",
            found=", ".join(unknown),
            expected=", ".join(classes),
            fix="correct the table, or use the bundle that it was written for",
        )
    return Verdicts(tuple(classes), thresholds, dict(settings.bins), settings.undecided_bin)
