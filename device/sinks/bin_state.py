"""What the bin is, does and has done, as one JSON object that a broker retains.

State, last decision, counts since the start, versions, health, and the time at which all this was said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from device.clock import Clock, SystemClock
from device.events import Event, Lifecycle, Session


class QueueReport(Protocol):
    """Somebody's queue; `failing` is the error while its owner fails, else empty."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the class says what they are
    @property
    def waiting(self) -> int: ...  # noqa: D102
    @property
    def dropped(self) -> int: ...  # noqa: D102
    @property
    def failures(self) -> int: ...  # noqa: D102
    @property
    def failing(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class RefusalReport:
    """A configuration or bundle that the bin was to run and does not."""

    time: datetime
    told: str


@dataclass(frozen=True, slots=True)
class BinReport:
    """What the state holds beside the events: asked for when it is sent."""

    queues: Sequence[QueueReport] = ()
    next_bundle: dict[str, str] | None = None
    """Name, version and sha256 of the bundle that the next start runs, where it is another one."""
    commands: bool = False
    """Whether the bin takes orders."""
    refusal: RefusalReport | None = None
    """What it was to run last, if it does not."""


_NO_REPORT = BinReport()


class BinState:
    """Follows the events of one run."""

    def __init__(self, name: str, session: Session, version: str, clock: Clock | None = None) -> None:
        self._name, self._session, self._version = name, session, version
        self._clock = clock if clock is not None else SystemClock()
        self._started, self._started_s = self._clock.wall(), self._clock.now_s()
        self._lifecycle: Lifecycle | None = None
        self._reason: str | None = None
        self._last: dict[str, object] = dict.fromkeys(("time", "item", "decision", "label", "confidence", "bin"))
        self._labels: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()

    def update(self, event: Event) -> None:
        """Take in an event."""
        if event.lifecycle is not None:
            self._lifecycle, self._reason = event.lifecycle, event.reason
        decision = event.decision
        if decision is None:
            return
        self._kinds[decision.kind] += 1
        if decision.kind == "accepted" and decision.label is not None:
            self._labels[decision.label] += 1
        self._last = {
            "time": event.time.isoformat(timespec="milliseconds"),
            "item": decision.item,
            "decision": decision.kind,
            "label": decision.label,
            "confidence": round(decision.confidence, 4) if decision.prediction is not None else None,
            "bin": decision.bin,
        }

    def record(self, report: BinReport = _NO_REPORT) -> dict[str, object]:
        """The state now."""
        session = self._session
        return {
            "name": self._name,
            "time": self._clock.wall().isoformat(timespec="seconds"),
            "state": self._lifecycle,
            "reason": self._reason,
            "last": self._last,
            "counts": {
                "decisions": sum(self._kinds.values()),
                **{kind: self._kinds[kind] for kind in ("accepted", "uncertain", "too_dark", "too_bright")},
                "labels": {label: self._labels[label] for label in session.classes},
            },
            "health": self._health(report),
            "started": self._started.isoformat(timespec="seconds"),
            "uptime_s": round(self._clock.now_s() - self._started_s),
            "model": session.model,
            "bundle": {
                "name": session.model_name,
                "version": session.model_version,
                "sha256": session.model_sha256,
            },
            "next_bundle": report.next_bundle,
            "refusal": _refusal_record(report.refusal),
            "runtime": session.runtime,
            "source": session.source,
            "version": self._version,
            "commands": report.commands,
        }

    def _health(self, report: BinReport) -> dict[str, object]:
        queues = report.queues
        camera = {"RUNNING": "ok", "CAMERA_LOST": "lost"}.get(self._lifecycle or "", "unknown")
        troubles = [f"camera: {self._reason or 'lost'}"] if camera == "lost" else []
        troubles += [f"{queue.name}: {queue.failing}" for queue in queues if queue.failing]
        troubles += [f"not taken: {report.refusal.told}"] if report.refusal is not None else []
        return {
            "ok": not troubles,
            "camera": camera,
            "troubles": troubles,
            "queues": {queue.name: {"waiting": queue.waiting, "dropped": queue.dropped} for queue in queues},
        }


def _refusal_record(refusal: RefusalReport | None) -> dict[str, str] | None:
    if refusal is None:
        return None
    return {"time": refusal.time.isoformat(timespec="milliseconds"), "what": refusal.told}
