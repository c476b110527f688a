"""What the daemon tells: events, once each, and the view of every frame. Sinks take both."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from device.decision import Decision, JudgeState
from device.presence import PresenceReading
from device.region import Region
from smartbin.brightness import Exposure, LightState
from smartbin.images import BgrImage
from smartbin.prediction import Prediction

Lifecycle: TypeAlias = Literal["STARTING", "RUNNING", "CAMERA_LOST", "STOPPING"]


def new_event_id() -> str:
    """32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, with the time of day: a decision, or a change of the daemon's own state.

    `id` is its own all over the world: who is told twice (a broker, a web server) knows it again.
    Of a decision: `light` is that of its last frame, `age_ms` how old this was (live cameras), `stage_ms` the newest
    duration of each stage.
    """

    time: datetime
    kind: Literal["decision", "lifecycle"]
    decision: Decision | None = None
    lifecycle: Lifecycle | None = None
    reason: str | None = None
    origin: str | None = None
    light: LightState | None = None
    age_ms: float | None = None
    stage_ms: tuple[tuple[str, float], ...] = ()
    id: str = field(default_factory=new_event_id)


@dataclass(frozen=True, slots=True)
class FrameView:
    """What is known after one frame, for those who show it.

    Cameras deliver each frame in an array of its own, so whoever keeps `image` need not copy it; nobody writes into it.
    """

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
    sharpness: float = 1.0
    """Of the item, to be compared with its other frames; 1 where none was measured."""
    region: Region | None = None
    """The part of the picture that was looked at; None is all of it."""


@dataclass(frozen=True, slots=True)
class Session:
    """What runs, said to every sink before the first frame."""

    source: str
    model: str
    runtime: str
    classes: tuple[str, ...]
    min_confidence: float
    model_name: str = ""
    model_version: str = ""
    model_sha256: str = ""
    passed_over: tuple[str, ...] = ()
    """Why no faster runtime of this machine is used, a sentence each."""
