"""How a sink that works on its own thread is doing: what it sent and lost, and whether it is failing right now."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """What became of the events that a sink was given. `waiting` are still to be sent; `dropped` never will be."""

    sent: int = 0
    dropped: int = 0
    failures: int = 0
    waiting: int = 0
    failing: bool = False
    last_error: str = ""


class Health:
    """Counts, and says aloud when a sink begins to fail and when it works again: once each, however long it takes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.sent = self.dropped = self.failures = 0
        self.failing = False
        self.last_error = ""
        self._failures_before = 0

    def worked(self) -> None:
        """Whatever was tried has worked."""
        if self.failing:
            self.failing = False
            _log.warning("%s works again, after %d failures", self._name, self.failures - self._failures_before)

    def failed(self, error: object) -> None:
        """A try has failed; `error` is logged where the last one had worked."""
        told = str(error) or type(error).__name__  # some libraries' errors have nothing but a name
        if not self.failing:
            self.failing, self._failures_before = True, self.failures
            _log.error("%s is failing, the bin goes on without it: %s", self._name, told)
        self.failures += 1
        self.last_error = told

    def counts(self, waiting: int, overflowed: int = 0) -> SinkCounts:
        """Everything so far; `overflowed` are those that the queue dropped."""
        return SinkCounts(self.sent, self.dropped + overflowed, self.failures, waiting, self.failing, self.last_error)
