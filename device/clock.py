"""The seam between the daemon and time, so that tests need not sleep."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Monotonic time for every measurement, wall-clock time only for what is emitted."""

    def now_s(self) -> float:
        """Monotonic time, seconds."""
        ...

    def wall(self) -> datetime:
        """Wall-clock time with its zone."""
        ...

    def wait(self, stop: threading.Event, timeout_s: float) -> bool:
        """Wait until `stop` is set (True) or `timeout_s` have passed (False)."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """`time.monotonic`."""
        return time.monotonic()

    def wall(self) -> datetime:
        """The time of day, UTC."""
        return datetime.now(timezone.utc)

    def wait(self, stop: threading.Event, timeout_s: float) -> bool:
        """Really wait."""
        return stop.wait(max(0.0, timeout_s))


class ManualClock:
    """A clock that moves when it is told to, or when somebody waits. For tests and drills; waiting returns at once."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self._now_s = start_s
        self._lock = threading.Lock()
        self.waits_s: list[float] = []

    def now_s(self) -> float:
        """The time that it was moved to."""
        return self._now_s

    def wall(self) -> datetime:
        """That time, as seconds since 1970."""
        return datetime.fromtimestamp(self._now_s, timezone.utc)

    def advance(self, seconds: float) -> None:
        """Move forward."""
        with self._lock:
            self._now_s += seconds

    def wait(self, stop: threading.Event, timeout_s: float) -> bool:
        """Move forward by the whole time-out at once, unless `stop` is set already."""
        if stop.is_set():
            return True
        self.waits_s.append(timeout_s)
        self.advance(max(0.0, timeout_s))
        return stop.is_set()
