"""What the daemon tells: events, once each, and the view of every frame. Sinks take both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from device.decision import Decision, JudgeState
from device.presence import PresenceReading
from smartbin.brightness import Exposure, LightState
from smartbin.images import BgrImage
from smartbin.prediction import Prediction

Lifecycle: TypeAlias = Literal["STARTING", "RUNNING", "CAMERA_LOST", "STOPPING"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, with the time of day: a decision, or a change of the daemon's own state."""

    time: datetime
    kind: Literal["decision", "lifecycle"]
    decision: Decision | None = None
    lifecycle: Lifecycle | None = None
    reason: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class FrameView:
    """What is known after one frame, for those who show it."""

    image: BgrImage
    seq: int
    source: str
    state: JudgeState
    item: int
    light: LightState
    exposure: Exposure
    presence: PresenceReading
    prediction: Prediction | None
    fps: float
    stage_ms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Session:
    """What runs, said to every sink before the first frame."""

    source: str
    model: str
    runtime: str
    classes: tuple[str, ...]
    min_confidence: float
