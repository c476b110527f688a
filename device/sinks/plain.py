"""One line a decision, for people who read a log or a pipe."""

from __future__ import annotations

from device.decision import Decision
from device.events import Event, Session
from smartbin.prediction import probability_text

TERMINAL = "terminal"
"""Its name among the sinks."""


class PlainLines:
    """One short line a decision, for a log or a pipe; see `device.sinks.line_sink`."""

    def wants(self, event: Event) -> bool:
        """A decision, or a change for the worse."""
        return event.decision is not None or event.lifecycle == "CAMERA_LOST" or bool(event.reason)

    def first(self, session: Session) -> str:
        """What runs."""
        return f"smartbin: {session.source}, model {session.model} on {session.runtime}\n"

    def line(self, event: Event) -> str:
        """The time of day, and what happened."""
        if event.decision is not None:
            return f"{event.time:%H:%M:%S}  {describe_decision(event.decision)}"
        return f"{event.time:%H:%M:%S}  {event.lifecycle}: {event.reason or ''}"


def describe_decision(decision: Decision) -> str:
    """A decision as one line of text."""
    sure = probability_text(decision.confidence)
    said = {
        "accepted": f"{decision.label} {sure}",
        "uncertain": f"unsure, perhaps {decision.label} {sure}" if decision.label else "unsure",
        "too_dark": "too dark to judge",
        "too_bright": "too bright to judge",
    }[decision.kind]
    truth = "" if decision.truth is None else f"  (it is {decision.truth})"
    took_s = decision.decided_s - decision.arrived_s
    seen = f"  {decision.frames} frames, {took_s:.1f} s" if took_s > 0 else ""
    return f"item {decision.item:>3}  {said:<28} -> {decision.bin:<10}{seen}{truth}"
