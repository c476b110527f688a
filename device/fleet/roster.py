"""What is known of every bin of a fleet, from the topics that the broker keeps; no connection and no clock in here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from device.fleet.messages import BundleName
from device.sinks.topics import ONLINE


class _Told(BaseModel):
    """A part of a bin's state. Bins may be older or newer than this desk: what is missing has a default."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class LastDecision(_Told):
    """The newest decision of a bin."""

    time: AwareDatetime | None = None
    decision: str | None = None
    label: str | None = None
    confidence: float | None = None
    bin: str | None = None


class BinCounts(_Told):
    """Decisions since the bin's start."""

    decisions: int = 0
    accepted: int = 0
    uncertain: int = 0
    too_dark: int = 0
    too_bright: int = 0


class BinHealth(_Told):
    """Whether something is the matter, and what."""

    ok: bool | None = None
    camera: str = "unknown"
    troubles: tuple[str, ...] = ()


class ToldRefusal(_Told):
    """A configuration or bundle that a bin was to run and does not."""

    time: AwareDatetime
    what: str = ""


class ToldState(_Told):
    """The retained state of a bin, as far as the desk shows it."""

    time: AwareDatetime | None = None
    state: str | None = None
    reason: str | None = None
    last: LastDecision = LastDecision()
    counts: BinCounts = BinCounts()
    health: BinHealth = BinHealth()
    uptime_s: float | None = None
    model: str = ""
    bundle: BundleName | None = None
    next_bundle: BundleName | None = None
    refusal: ToldRefusal | None = None
    runtime: str = ""
    version: str = ""
    commands: bool = Field(default=False)


@dataclass(slots=True)
class KnownBin:
    """One bin. `online` is None until the broker has said it; `state` is None until it has come."""

    name: str
    online: bool | None = None
    state: ToldState | None = None
    raw: dict[str, object] = field(default_factory=dict)
    unreadable: str = ""

    @property
    def complete(self) -> bool:
        """Whether both retained messages have come."""
        return self.online is not None and (self.state is not None or bool(self.unreadable))

    @property
    def well(self) -> bool:
        """There, and nothing is the matter."""
        return bool(self.online) and self.state is not None and self.state.health.ok is not False

    def age_s(self, now: datetime) -> float | None:
        """How old its state is by this machine's clock, seconds."""
        if self.state is None or self.state.time is None:
            return None
        return (now - self.state.time).total_seconds()


class Roster:
    """The bins below a topic prefix, those whose names match one of the patterns (`*`, `?`, `[…]`); none: all."""

    def __init__(self, prefix: str, patterns: Sequence[str] = ()) -> None:
        self._prefix, self._patterns = prefix, tuple(patterns)
        self._bins: dict[str, KnownBin] = {}

    @property
    def bins(self) -> list[KnownBin]:
        """By name."""
        return [self._bins[name] for name in sorted(self._bins)]

    def get(self, name: str) -> KnownBin | None:
        """One bin, None if nothing was heard of it."""
        return self._bins.get(name)

    @property
    def missing(self) -> list[str]:
        """Names that were asked for and of which nothing was heard; patterns are no names."""
        return [name for name in self._patterns if not set(name) & set("*?[") and name not in self._bins]

    def take(self, topic: str, payload: bytes) -> bool:
        """Take in a message; whether it changed what is known."""
        name, kind = self._place(topic)
        if kind not in ("availability", "state") or not self._wanted(name):
            return False
        if not payload:  # a retained message was deleted: the bin is gone for good
            return self._bins.pop(name, None) is not None
        known = self._bins.setdefault(name, KnownBin(name))
        if kind == "availability":
            known.online = payload == ONLINE.encode()
            return True
        try:
            known.state, known.raw, known.unreadable = ToldState.model_validate_json(payload), json.loads(payload), ""
        except ValidationError as error:
            known.unreadable = str(error).splitlines()[0]
        return True

    def name_of(self, topic: str, kind: str) -> str | None:
        """The bin's name if the topic is that one of a wanted bin."""
        name, found = self._place(topic)
        return name if found == kind and self._wanted(name) else None

    def _place(self, topic: str) -> tuple[str, str]:
        before, _, kind = topic.rpartition("/")
        prefix, _, name = before.rpartition("/")
        return (name, kind) if prefix == self._prefix else ("", "")

    def _wanted(self, name: str) -> bool:
        return bool(name) and (not self._patterns or any(fnmatchcase(name, each) for each in self._patterns))
