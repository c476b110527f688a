"""The rows of the event store as types. Plain values only, so that a reader needs neither numpy nor the daemon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One start of the daemon: what watched and what judged. `uid` is random, and unique among all bins."""

    uid: str
    started_ms: int
    source: str
    model: str
    model_name: str
    model_version: str
    runtime: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event of a run, number `seq` of it. Times are milliseconds since 1970, UTC; durations are milliseconds.

    `kind` is `decision` or `lifecycle`; a lifecycle change has `state` and perhaps `reason`, a decision the rest, where
    None stands for what was not known: no prediction, no live camera. `probabilities` are in the order of the run's
    classes. `bin` is the flap. `age_ms` is how old the frame was when the decision fell, `took_ms` how long the item
    had been there. `uid` is the id that brokers and web servers are told; None in rows older than it.
    """

    seq: int
    time_ms: int
    kind: str
    state: str | None = None
    reason: str | None = None
    decision: str | None = None
    item: int | None = None
    label: str | None = None
    bin: str | None = None
    confidence: float | None = None
    margin: float | None = None
    energy: float | None = None
    probabilities: tuple[float, ...] = ()
    frames: int | None = None
    took_ms: float | None = None
    light: str | None = None
    mean_luma: float | None = None
    clipped_fraction: float | None = None
    gamma: float | None = None
    age_ms: float | None = None
    stage_ms: tuple[tuple[str, float], ...] = ()
    truth: str | None = None
    origin: str | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was read: its number in the store, which never comes again, and its run."""

    id: int
    run: RunRecord
    event: EventRecord


@dataclass(frozen=True, slots=True)
class DayCount:
    """Decisions of one kind and label on one day, `day` as YYYY-MM-DD."""

    day: str
    decision: str
    label: str | None
    count: int


@dataclass(frozen=True, slots=True)
class UncertainRate:
    """How many of the decisions were uncertain; too dark and too bright ones count as decisions, not as uncertain."""

    uncertain: int
    decisions: int

    @property
    def share(self) -> float | None:
        """The part, 0 to 1; None without a decision."""
        return self.uncertain / self.decisions if self.decisions else None
