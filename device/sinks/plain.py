"""One line a decision, for people who read a log or a pipe."""

from __future__ import annotations

import sys
from typing import TextIO

from device.decision import Decision
from device.events import Event, FrameView, Session


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
