"""Lines of text, one an event, to a file or to stdout: on a thread of their own, so that a full disk, or a reader who
does not read, holds nobody up.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TextIO

from device.bounded_queue import BoundedQueue
from device.clock import Clock
from device.events import Event, FrameView, Session
from device.sinks.queued_sink import QueuedSink, QueueRules
from device.sinks.thread_sink import Queued
from smartbin.errors import ConfigError

_LIMIT = 1000
_LIVE_FLUSH_S, _WAITING_FLUSH_S = 2.0, 60.0


class Lines(Protocol):
    """What an event looks like as a line."""

    def wants(self, event: Event) -> bool:
        """Whether it is a line at all; asked on the main loop."""
        ...

    def first(self, session: Session) -> str:
        """What comes before all events, with its line end; may be empty."""
        ...

    def line(self, event: Event) -> str:
        """An event, without the line end."""
        ...


class LineReceiver:
    """Writes each line at once. `path` is None for stdout, which is never opened again; its reader may go."""

    def __init__(self, stream: TextIO, lines: Lines, path: Path | None, *, owned: bool) -> None:
        self._stream, self._lines, self._path, self._owned = stream, lines, path, owned
        self._written: Event | None = None
        self.reader_gone = False

    def wants(self, event: Event) -> bool:
        """What the lines show."""
        return self._lines.wants(event)

    def start(self, session: Session) -> None:
        """The line before all others, where there is one; what cannot be written now comes with the next."""
        if first := self._lines.first(session):
            with contextlib.suppress(OSError):
                self._write(first)
                self._flush()

    def tick(self) -> float | None:
        """Nothing is due without an event."""
        return None

    def deliver(self, event: Event) -> None:
        """Write one line. What a full disk did not take is in the buffer of the stream: it is not written twice."""
        if self._written is not event:
            self._open_again_if_moved()
            self._written = event
            self._write(self._lines.line(event) + "\n")
        self._flush()

    def close(self) -> None:
        """Close what was opened here."""
        if self._owned:
            with contextlib.suppress(OSError):
                self._stream.close()

    def _write(self, text: str) -> None:
        with self._looking_for_the_reader():
            self._stream.write(text)

    def _flush(self) -> None:
        with self._looking_for_the_reader():
            self._stream.flush()

    @contextlib.contextmanager
    def _looking_for_the_reader(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            if self._path is not None:
                raise
            self.reader_gone = True

    def _open_again_if_moved(self) -> None:
        """Whoever rotates the file moves or deletes it."""
        if self._path is None:
            return
        try:
            same = os.path.samestat(self._path.stat(), os.fstat(self._stream.fileno()))
        except OSError:
            same = False
        if not same:
            fresh = self._path.open("a", encoding="utf-8")
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = fresh


class LineSink(QueuedSink):
    """A queue before a `LineReceiver`. Where stdout's reader has gone, the next frame raises `BrokenPipeError`.

    A recording waits where the queue is full: its events are not to be lost, and nothing grows stale meanwhile.
    """

    def __init__(self, name: str, receiver: LineReceiver, clock: Clock, *, waits: bool) -> None:
        rules = QueueRules(
            limit=_LIMIT,
            attempts=1 if waits else float("inf"),
            flush_s=_WAITING_FLUSH_S if waits else _LIVE_FLUSH_S,
        )
        super().__init__(name, receiver, rules, clock)
        self._out = receiver
        self._queue = BoundedQueue[Queued](_LIMIT, waits=waits)

    def event(self, event: Event) -> None:
        """Queue a line."""
        self._look_for_the_reader()
        super().event(event)

    def frame(self, view: FrameView) -> None:
        """Frames are not lines."""
        self._look_for_the_reader()

    def _look_for_the_reader(self) -> None:
        if self._out.reader_gone:
            raise BrokenPipeError


def open_lines(name: str, lines: Lines, clock: Clock, *, target: str = "-", waits: bool = False) -> LineSink:
    """To a file, appended, or to stdout (`-`); `ConfigError` if it cannot be opened. `waits`: see `LineSink`."""
    if target == "-":
        stream, owned = _own_stdout()
        return LineSink(name, LineReceiver(stream, lines, None, owned=owned), clock, waits=waits)
    path = Path(target).expanduser()
    try:
        stream = path.open("a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "cannot write the events", where=target, found=error.strerror, fix="check [sinks] json_lines"
        ) from error
    return LineSink(name, LineReceiver(stream, lines, path, owned=True), clock, waits=waits)


def _own_stdout() -> tuple[TextIO, bool]:
    """Stdout with a buffer of its own: a thread that hangs in it must not hold the lock that the interpreter takes at
    its end. What has no descriptor is taken as it is.
    """
    sys.stdout.flush()
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError, io.UnsupportedOperation):
        return sys.stdout, False
    return open(descriptor, "w", encoding=sys.stdout.encoding, errors="backslashreplace"), True  # noqa: PTH123
