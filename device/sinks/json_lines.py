"""Events as JSON: one object an event, which a file, a pipe, a broker and a web server all get alike."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from device.decision import Decision
from device.events import Event, FrameView, Session
from smartbin.errors import ConfigError


class JsonLinesSink:
    """One JSON object a line and event, to a file (appended) or to stdout."""

    def __init__(self, stream: TextIO, *, owned: bool = False) -> None:
        self._stream, self._owned = stream, owned
        self._classes: tuple[str, ...] = ()

    @classmethod
    def open(cls, target: str) -> JsonLinesSink:
        """`-` is stdout, anything else a file; `ConfigError` if it cannot be opened."""
        if target == "-":
            return cls(sys.stdout)
        try:
            return cls(Path(target).open("a", encoding="utf-8"), owned=True)
        except OSError as error:
            raise ConfigError(
                "cannot write the events", where=target, found=error.strerror, fix="check [sinks] json_lines"
            ) from error

    def start(self, session: Session) -> None:
        """Remember the class names; they name the probabilities."""
        self._classes = session.classes

    def event(self, event: Event) -> None:
        """Write one line, at once."""
        self._stream.write(event_json(event, self._classes) + "\n")
        self._stream.flush()

    def frame(self, view: FrameView) -> None:
        """Frames are not written."""

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self._owned:
            self._stream.close()


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
