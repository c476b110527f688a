"""A sink that hands over one event after the other, tries again where that fails, and forgets what has become stale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from device.backoff import Backoff
from device.clock import Clock
from device.events import Event, Session
from device.sinks.thread_sink import Queued, ThreadSink


class DeliveryRefusedError(Exception):
    """The other side will never take this event: trying again is of no use."""


class RetryLaterError(Exception):
    """The other side has asked not to be tried again before `after_s` seconds."""

    def __init__(self, what: str, after_s: float) -> None:
        super().__init__(what)
        self.after_s = after_s


class Receiver(Protocol):
    """The slow end of a `QueuedSink`. Called from its thread only; each call may block for a bounded time and raise."""

    def wants(self, event: Event) -> bool:
        """Whether to be told of an event. The one call that comes from the main loop: it looks at the event only."""
        ...

    def start(self, session: Session) -> None:
        """What runs; called once, first."""
        ...

    def tick(self) -> float | None:
        """What is due without an event, such as closing a flap; in how many seconds to call again, None: no need."""
        ...

    def deliver(self, event: Event) -> None:
        """Hand over an event. `DeliveryRefusedError`: forget it; any other error: it may be tried again."""
        ...

    def close(self) -> None:
        """Let go of everything. Called also where `start` or the others have failed."""
        ...


@dataclass(frozen=True, slots=True)
class QueueRules:
    """How long and how often a `QueuedSink` tries.

    `flush_s` is for what waits when the daemon ends, `block_s` the longest that one call of the receiver takes.
    """

    limit: int = 64
    max_age_s: float = math.inf
    attempts: float = math.inf
    first_s: float = 0.5
    cap_s: float = 60.0
    flush_s: float = 2.0
    block_s: float = 1.0


class QueuedSink(ThreadSink):
    """Events to a `Receiver`, in order, on a thread of its own."""

    def __init__(self, name: str, receiver: Receiver, rules: QueueRules, clock: Clock) -> None:
        super().__init__(name, queue_limit=rules.limit, flush_s=rules.flush_s, block_s=rules.block_s, clock=clock)
        self._receiver, self._rules = receiver, rules
        self._backoff = Backoff(rules.first_s, rules.cap_s)
        self._not_before_s = -math.inf
        self._tick_failed = False
        self._tried: tuple[Queued | None, int] = (None, 0)

    def _wants(self, event: Event) -> bool:
        return self._receiver.wants(event)

    def _work(self, session: Session) -> None:
        try:
            self._receiver.start(session)
            wait_s = self._round()
            while not self._is_over():
                resting = self._clock.now_s() < self._not_before_s
                if wait_s is None or wait_s > 0:
                    self._queue.wait(self._until_flushed(wait_s), for_items=not resting)
                    if self._is_over():
                        break
                wait_s = self._round()
        finally:
            self._receiver.close()

    def _is_over(self) -> bool:
        if not self._stopping.is_set():
            return False
        last_chance_s = max(self._clock.now_s(), self._not_before_s)
        return self._queue.peek() is None or last_chance_s >= self._flush_until_s

    def _until_flushed(self, wait_s: float | None) -> float | None:
        if not self._stopping.is_set():
            return wait_s
        left_s = max(0.0, self._flush_until_s - self._clock.now_s())
        return left_s if wait_s is None else min(wait_s, left_s)

    def _round(self) -> float | None:
        """Do what is due; the seconds until something could be due again, None: when an event comes."""
        now_s = self._clock.now_s()
        if now_s < self._not_before_s:
            return self._not_before_s - now_s
        try:
            wait_s = self._receiver.tick()
        except Exception as error:  # noqa: BLE001 - libraries and drivers raise anything
            self._tick_failed = True
            return self._pause(error)
        if self._tick_failed:
            self._tick_failed = False
            self._worked()
        queued = self._queue.peek()
        if queued is None:
            return wait_s
        if self._clock.now_s() - queued.put_s > self._rules.max_age_s:
            self._drop(queued)
            return 0.0
        return self._deliver(queued)

    def _deliver(self, queued: Queued) -> float:
        before, tries = self._tried
        self._tried = (queued, tries + 1 if before is queued else 1)
        try:
            self._receiver.deliver(queued.event)
        except DeliveryRefusedError as error:
            self._health.failed(error)
            self._drop(queued)
        except Exception as error:  # noqa: BLE001 - libraries and drivers raise anything
            if self._tried[1] < self._rules.attempts:
                return self._pause(error)
            self._health.failed(error)
            self._drop(queued)
        else:
            self._queue.delivered(queued)
            self._health.sent += 1
            self._worked()
        return 0.0

    def _worked(self) -> None:
        self._health.worked()
        self._backoff.reset()

    def _pause(self, error: Exception) -> float:
        self._health.failed(error)
        pause_s = self._backoff.next_s()
        if isinstance(error, RetryLaterError):
            pause_s = max(pause_s, min(error.after_s, self._rules.cap_s))
        self._not_before_s = self._clock.now_s() + pause_s
        return pause_s

    def _drop(self, queued: Queued) -> None:
        if self._queue.remove(queued):
            self._health.dropped += 1
