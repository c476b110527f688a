"""Who is told what the bin decides. Each sink fails alone: its error is logged once and the others go on."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from device.decision import Decision
from device.events import Event, FrameView, Session
from smartbin.errors import ConfigError

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Somebody who wants to know. Called from the main loop only, so it must not block."""

    def start(self, session: Session) -> None:
        """What runs; called once, first."""
        ...

    def event(self, event: Event) -> None:
        """Something happened."""
        ...

    def frame(self, view: FrameView) -> None:
        """A frame went through; most sinks ignore it."""
        ...

    def close(self) -> None:
        """No more will come. May be called twice."""
        ...


class SinkGroup:
    """Several sinks as one. A reader that has gone (a closed pipe) calls `reader_gone`; other errors are logged."""

    def __init__(self, sinks: Sequence[Sink], reader_gone: Callable[[], None]) -> None:
        self._sinks, self._reader_gone = tuple(sinks), reader_gone
        self._failed: set[int] = set()
        self.failures = 0

    def start(self, session: Session) -> None:
        """Start every sink."""
        for sink in self._sinks:
            self._guard(sink, lambda sink=sink: sink.start(session))  # type: ignore[misc]

    def event(self, event: Event) -> None:
        """Tell every sink."""
        for sink in self._sinks:
            self._guard(sink, lambda sink=sink: sink.event(event))  # type: ignore[misc]

    def frame(self, view: FrameView) -> None:
        """Show every sink."""
        for sink in self._sinks:
            self._guard(sink, lambda sink=sink: sink.frame(view))  # type: ignore[misc]

    def close(self) -> None:
        """Close every sink."""
        for sink in self._sinks:
            self._guard(sink, sink.close)

    def _guard(self, sink: Sink, action: Callable[[], None]) -> None:
        try:
            action()
        except BrokenPipeError:
            self._reader_gone()
        except Exception as error:  # noqa: BLE001 - whatever a sink does, the bin goes on sorting
            self.failures += 1
            if id(sink) not in self._failed:
                self._failed.add(id(sink))
                _log.error("%s failed, the bin goes on without it: %s", type(sink).__name__, error)


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


class PlainSink:
    """One short line a decision, for a log or a pipe."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout

    def start(self, session: Session) -> None:
        """Say what runs."""
        self._line(f"smartbin: {session.source}, model {session.model} on {session.runtime}")

    def event(self, event: Event) -> None:
        """A decision, or a change for the worse."""
        if event.decision is not None:
            self._line(f"{event.time:%H:%M:%S}  {describe_decision(event.decision)}")
        elif event.lifecycle == "CAMERA_LOST" or event.reason:
            self._line(f"{event.time:%H:%M:%S}  {event.lifecycle}: {event.reason or ''}")

    def frame(self, view: FrameView) -> None:
        """Frames are not printed."""

    def close(self) -> None:
        """Stdout stays open."""

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def describe_decision(decision: Decision) -> str:
    """A decision as one line of text."""
    said = {
        "accepted": f"{decision.label} {decision.confidence:.0%}",
        "uncertain": f"unsure, perhaps {decision.label} {decision.confidence:.0%}" if decision.label else "unsure",
        "too_dark": "too dark to judge",
        "too_bright": "too bright to judge",
    }[decision.kind]
    truth = "" if decision.truth is None else f"  (it is {decision.truth})"
    took_s = decision.decided_s - decision.arrived_s
    seen = f"  {decision.frames} frames, {took_s:.1f} s" if took_s > 0 else ""
    return f"item {decision.item:>3}  {said:<28} -> {decision.bin:<10}{seen}{truth}"


def event_json(event: Event, classes: Sequence[str]) -> str:
    """An event as one line of JSON; numbers are rounded to what they are worth."""
    record: dict[str, object] = {"event": event.kind, "time": event.time.isoformat(timespec="milliseconds")}
    if event.lifecycle is not None:
        record["state"] = event.lifecycle
    if event.reason is not None:
        record["reason"] = event.reason
    if event.decision is not None:
        record.update(_decision_record(event.decision, classes))
    if event.origin is not None:
        record["origin"] = event.origin
    return json.dumps(record, ensure_ascii=False)


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
