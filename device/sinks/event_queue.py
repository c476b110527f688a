"""The bounded queue between the main loop, which must not wait, and the thread of a slow sink."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from device.events import Event


class Queued(NamedTuple):
    """An event and when it was put into the queue, monotonic seconds."""

    event: Event
    put_s: float


class EventQueue:
    """First in, first out; when it is full the oldest makes room, because news of a bin grow stale."""

    def __init__(self, limit: int) -> None:
        self._events: deque[Queued] = deque()
        self._limit = limit
        self._changed = threading.Condition()
        self._woken = False
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event, now_s: float) -> None:
        """Add an event; never waits."""
        with self._changed:
            if len(self._events) >= self._limit:
                self._events.popleft()
                self.overflowed += 1
            self._events.append(Queued(event, now_s))
            self._changed.notify_all()

    def peek(self) -> Queued | None:
        """The oldest, which stays."""
        with self._changed:
            return self._events[0] if self._events else None

    def remove(self, queued: Queued) -> bool:
        """Take out the oldest if it is still this one: it may have made room for a newer one in the meantime."""
        with self._changed:
            if self._events and self._events[0] is queued:
                self._events.popleft()
                return True
            return False

    def delivered(self, queued: Queued) -> None:
        """Take out the oldest, which has been sent; if it made room while it was, it was not lost after all."""
        if not self.remove(queued):
            with self._changed:
                self.overflowed -= 1

    def take_all(self) -> list[Queued]:
        """Everything that waits, oldest first."""
        with self._changed:
            everything = list(self._events)
            self._events.clear()
            return everything

    def wake(self) -> None:
        """End the wait of the sink's thread, now or the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait(self, timeout_s: float | None, *, for_events: bool = True) -> None:
        """Wait until something is there (`for_events`), somebody calls `wake`, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or (for_events and bool(self._events)), timeout_s)
            self._woken = False
