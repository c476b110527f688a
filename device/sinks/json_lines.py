"""Events as JSON: one object an event, which a file, a pipe, a broker and a web server all get alike."""

from __future__ import annotations

import json
from collections.abc import Sequence

from device.decision import Decision
from device.events import Event, Session


class JsonLines:
    """One JSON object a line and event; see `device.sinks.line_sink`."""

    def __init__(self) -> None:
        self._classes: tuple[str, ...] = ()

    def wants(self, event: Event) -> bool:
        """All of them."""
        return True

    def first(self, session: Session) -> str:
        """No line, but the class names are remembered: they name the probabilities."""
        self._classes = session.classes
        return ""

    def line(self, event: Event) -> str:
        """As one JSON object."""
        return event_json(event, self._classes)


def event_json(event: Event, classes: Sequence[str]) -> str:
    """An event as one line of JSON; numbers are rounded to what they are worth."""
    return json.dumps(event_record(event, classes), ensure_ascii=False)


def event_record(event: Event, classes: Sequence[str]) -> dict[str, object]:
    """An event as what becomes a JSON object."""
    time = event.time.isoformat(timespec="milliseconds")
    record: dict[str, object] = {"event": event.kind, "id": event.id, "time": time}
    if event.lifecycle is not None:
        record["state"] = event.lifecycle
    if event.reason is not None:
        record["reason"] = event.reason
    if event.decision is not None:
        record.update(_decision_record(event.decision, classes))
    if event.origin is not None:
        record["origin"] = event.origin
    return record


def _decision_record(decision: Decision, classes: Sequence[str]) -> dict[str, object]:
    probabilities = decision.prediction.probabilities if decision.prediction is not None else ()
    exposure = decision.exposure
    return {
        "decision": decision.kind,
        "item": decision.item,
        "label": decision.label,
        "confidence": round(decision.confidence, 4),
        "bin": decision.bin,
        "frames": decision.frames,
        "took_s": round(decision.decided_s - decision.arrived_s, 3),
        "probabilities": {name: round(value, 4) for name, value in zip(classes, probabilities, strict=False)},
        "energy": None if decision.prediction is None else round(decision.prediction.energy, 3),
        "exposure": {
            "mean_luma": round(exposure.mean_luma, 4),
            "clipped_fraction": round(exposure.clipped_fraction, 4),
            "gamma": exposure.gamma,
        },
        "truth": decision.truth,
    }
