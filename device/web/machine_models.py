"""What the API answers and takes of the machine and its models, as its OpenAPI document describes it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from device.events import Lifecycle
from device.web.machine_load import MachineLoad
from device.web.record import Record


class QueueAnswer(Record):
    """Somebody's queue."""

    name: str
    waiting: int
    dropped: int
    failures: int
    failing: str


class StageAnswer(Record):
    """How long a stage takes, milliseconds, over the newest 10 000 runs."""

    stage: str
    p50_ms: float
    p95_ms: float
    max_ms: float


class HealthAnswer(Record):
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


class OfferAnswer(Record):
    """A bundle that may be installed, by its name."""

    name: str
    told: str


class ModelAnswer(Record):
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


class Done(Record):
    """What was done."""

    told: str


class Yes(Record):
    """Whether it is so, and if not, why."""

    ok: bool
    trouble: list[str]
