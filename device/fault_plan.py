"""Which faults a test camera shows, and when: read from the query of `test://SOURCE?faults=stall,black&every_s=20`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from smartbin.bundle import describe_validation
from smartbin.errors import ConfigError

FaultKind: TypeAlias = Literal["slow", "stall", "freeze", "black", "corrupt", "unplug", "wrong_size", "wrong_channels"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
ALL = "all"


class FaultPlan(BaseModel):
    """The query of a test camera, key by key. All that is random follows from `seed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    faults: dict[FaultKind, float | None] = Field(
        default_factory=lambda: dict.fromkeys(FAULT_KINDS),
        min_length=1,
        description="kinds, each with its seconds if it has its own: stall:5,black; or all",
    )
    every_s: float | None = Field(default=None, gt=0, description="good seconds between two faults, on average; 20")
    every_frames: int | None = Field(default=None, ge=1, description="good frames between two faults instead")
    hold_s: float = Field(default=4.0, gt=0, description="how long a fault lasts, on average")
    seed: int = Field(default=0, ge=0)
    fps: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="frames a second, 0: as fast as they are read; the recording plays in its own time. Left out: each "
        "of its pictures once",
    )
    speed: float = Field(default=1.0, gt=0, le=1000, description="how many times as fast a recording plays")
    noise: int = Field(
        default=2, ge=0, le=20, description="levels of sensor noise: no two frames of a camera are alike"
    )
    log: Path | None = Field(
        default=None, description="file that gets a JSON line when a fault begins and when it ends"
    )

    @field_validator("faults", mode="before")
    @classmethod
    def _read_faults(cls, value: object) -> object:
        """`stall:5,black` as {stall: 5, black: None}."""
        if not isinstance(value, str):
            return value
        if value.strip() == ALL:
            return dict.fromkeys(FAULT_KINDS)
        parts = [part.strip().partition(":") for part in value.split(",") if part.strip()]
        if len({kind for kind, _, _ in parts}) < len(parts):
            raise ValueError("a fault is named twice")
        return {kind: seconds if colon else None for kind, colon, seconds in parts}

    @field_validator("faults")
    @classmethod
    def _check_seconds(cls, value: dict[FaultKind, float | None]) -> dict[FaultKind, float | None]:
        if any(seconds is not None and seconds <= 0 for seconds in value.values()):
            raise ValueError("the seconds of a fault must be above 0")
        return value

    @field_validator("log")
    @classmethod
    def _check_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.parent.is_dir():
            raise ValueError(f"there is no folder {value.parent}")
        return value

    @model_validator(mode="after")
    def _check_every(self) -> FaultPlan:
        if self.every_s is not None and self.every_frames is not None:
            raise ValueError("give every_s or every_frames, not both")
        return self


def parse_fault_plan(query: str, uri: str) -> FaultPlan:
    """Read a query; `ConfigError` naming the key, the value and the forms if it does not fit."""
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    try:
        if len(values) < len(pairs):
            raise ValueError("a key is given twice")
        return FaultPlan.model_validate(values)
    except ValueError as error:
        found = describe_validation(error) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(
            "the test camera's query does not fit",
            where=uri,
            found=found,
            expected=f"{', '.join(FaultPlan.model_fields)}; faults are {', '.join(FAULT_KINDS)}, or {ALL}",
        ) from error


class FaultSchedule:
    """When the next fault begins, which it is, how long it lasts. Pure: the camera's time and frame count come in."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._bag: list[FaultKind] = []
        self._due_s: float | None = None
        self._due_frame: int | None = None

    def rest(self, now_s: float, frame: int) -> None:
        """From here on the camera is good; draw how long."""
        share = self._random.uniform(0.5, 1.5)
        if self._plan.every_frames is not None:
            self._due_frame = frame + max(1, round(self._plan.every_frames * share))
        else:
            self._due_s = now_s + (self._plan.every_s or 20.0) * share

    def next_fault(self, now_s: float, frame: int) -> tuple[FaultKind, float] | None:
        """A fault and its seconds, if one is due. Every kind comes once before any comes again."""
        if self._due_s is None and self._due_frame is None:
            self.rest(now_s, frame)
        due = (self._due_s is not None and now_s >= self._due_s) or (
            self._due_frame is not None and frame >= self._due_frame
        )
        if not due:
            return None
        if not self._bag:
            self._bag = sorted(self._plan.faults)
            self._random.shuffle(self._bag)
        kind = self._bag.pop()
        return kind, (self._plan.faults[kind] or self._plan.hold_s) * self._random.uniform(0.75, 1.25)
