"""A sink with a thread of its own: the main loop leaves events in a queue and goes on, whatever the sink is up to."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import NamedTuple

from device.backoff import Backoff
from device.bounded_queue import BoundedQueue
from device.clock import Clock
from device.events import Event, FrameView, Session
from device.sinks.health import Health, SinkCounts

_log = logging.getLogger(__name__)
_AGAIN_FIRST_S, _AGAIN_CAP_S = 1.0, 60.0  # pauses before a thread that has failed begins anew
_LET_GO_S = 1.0  # beside the time to flush and the call in progress


class Queued(NamedTuple):
    """An event and when it was put into the queue, monotonic seconds."""

    event: Event
    put_s: float


class ThreadSink(ABC):
    """Queue, thread, counts and a bounded end; `_work` is what the thread does until `_stopping`."""

    def __init__(self, name: str, *, queue_limit: int, flush_s: float, block_s: float, clock: Clock) -> None:
        self.name = name
        self._clock, self._flush_s = clock, flush_s
        self._join_s = flush_s + block_s + _LET_GO_S
        self._queue, self._health = BoundedQueue[Queued](queue_limit), Health(name)
        self._stopping = threading.Event()
        self._flush_until_s = float("inf")
        self._session: Session | None = None
        self._thread: threading.Thread | None = None

    @property
    def counts(self) -> SinkCounts:
        """What became of the events so far; any thread may ask."""
        return self._health.counts(len(self._queue), self._queue.overflowed)

    def start(self, session: Session) -> None:
        """Start the thread."""
        self._session = session
        self._thread = threading.Thread(target=self._guarded, args=(session,), name=f"sink-{self.name}", daemon=True)
        self._thread.start()

    def event(self, event: Event) -> None:
        """Queue an event; never waits."""
        if self._wants(event):
            self._queue.put(Queued(event, self._clock.now_s()))

    def frame(self, view: FrameView) -> None:  # noqa: B027 - every one of these sinks does nothing here
        """Frames are not sent."""

    def ask_to_stop(self) -> None:
        """Send what can be sent in the time to flush, then end. Does not wait; `close` does."""
        if not self._stopping.is_set():
            self._flush_until_s = self._clock.now_s() + self._flush_s
            self._stopping.set()
            self._queue.wake()

    def close(self) -> None:
        """End the thread: a bounded wait. One that hangs in a driver is left behind; it does not keep the process."""
        self.ask_to_stop()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.join(self._join_s)
        if thread.is_alive():
            _log.error("%s does not end; it is left behind", self.name)
        if lost := len(self._queue.take_all()):
            self._health.dropped += lost
            _log.warning("%s: %d events were not sent before the end", self.name, lost)

    def _guarded(self, session: Session) -> None:
        backoff = Backoff(_AGAIN_FIRST_S, _AGAIN_CAP_S)
        while True:
            try:
                return self._work(session)
            except Exception as error:  # noqa: BLE001 - whatever a sink does, the bin goes on sorting
                self._health.failed(error)
                _log.debug("%s begins anew", self.name, exc_info=True)
            if self._stopping.wait(backoff.next_s()):
                return None

    def _wants(self, event: Event) -> bool:
        """Whether this sink is told of an event; asked on the main loop."""
        return True

    @abstractmethod
    def _work(self, session: Session) -> None:
        """What the thread does until `_stopping`, leaving nothing open; called again after a pause where it raises."""
