"""Who is told what the bin decides. Each sink fails alone: its error is logged once and the others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from device.events import Event, FrameView, Session
from device.sinks.health import SinkCounts
from device.sinks.thread_sink import ThreadSink

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
        self._own_failures = 0

    @property
    def failures(self) -> int:
        """Errors of all sinks so far."""
        return self._own_failures + sum(counts.failures for _, counts in self.counts())

    def counts(self) -> list[tuple[str, SinkCounts]]:
        """By name, what became of the events of those sinks that work on threads of their own."""
        return [(sink.name, sink.counts) for sink in self._sinks if isinstance(sink, ThreadSink)]

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
        """Close every sink. Those with threads end side by side, so that the longest wait is the only one."""
        self._ask_to_stop()
        for sink in self._sinks:
            self._guard(sink, sink.close)

    def close_threads(self) -> None:
        """Before the process ends without the main loop, which hangs: flaps to rest, what can be sent is sent."""
        self._ask_to_stop()
        for sink in self._sinks:
            if isinstance(sink, ThreadSink):
                self._guard(sink, sink.close)

    def _ask_to_stop(self) -> None:
        for sink in self._sinks:
            if isinstance(sink, ThreadSink):
                self._guard(sink, sink.ask_to_stop)

    def _guard(self, sink: Sink, action: Callable[[], None]) -> None:
        try:
            action()
        except BrokenPipeError:
            self._reader_gone()
        except Exception as error:  # noqa: BLE001 - whatever a sink does, the bin goes on sorting
            self._own_failures += 1
            if id(sink) not in self._failed:
                self._failed.add(id(sink))
                _log.error("%s failed, the bin goes on without it: %s", type(sink).__name__, error)
