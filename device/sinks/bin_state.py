"""What the bin is doing, as one JSON object that a broker retains: state, last decision, counts since the start."""

from __future__ import annotations

from collections import Counter

from device.events import Event, Lifecycle, Session


class BinState:
    """Follows the events of one run."""

    def __init__(self, name: str, session: Session, version: str) -> None:
        self._name, self._session, self._version = name, session, version
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

    def record(self) -> dict[str, object]:
        """The state now."""
        session = self._session
        return {
            "name": self._name,
            "state": self._lifecycle,
            "reason": self._reason,
            "last": self._last,
            "counts": {
                "decisions": sum(self._kinds.values()),
                **{kind: self._kinds[kind] for kind in ("accepted", "uncertain", "too_dark", "too_bright")},
                "labels": {label: self._labels[label] for label in session.classes},
            },
            "model": session.model,
            "runtime": session.runtime,
            "source": session.source,
            "version": self._version,
        }
