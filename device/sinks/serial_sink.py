"""Flaps behind a microcontroller: one line of text a decision over a serial port, and a line back.

The protocol, ASCII lines that end with a line feed (`device/examples/arduino_flaps` is a sketch):

    bin -> board     OPEN <bin>      open this flap, and close it again in the board's own time
                     UNSURE <bin>    the same, and show that the bin was not sure
                     REST            everything to rest, now
                     PING            are you there?
    board -> bin     READY           once, when it has started
                     OK              to each line, within `reply_s`
                     ERR <text>      instead, for what it cannot do

A board that hears nothing for three times `ping_s` should go to rest by itself.
"""

from __future__ import annotations

import contextlib
import re
from typing import Protocol

from device.clock import Clock
from device.events import Event, Session
from device.sinks.library import need_library
from device.sinks.queued_sink import DeliveryRefusedError, QueuedSink, QueueRules
from device.sinks.settings import SerialSettings

_LINE_BYTES = 256


class Port(Protocol):
    """What is used of pyserial's port."""

    timeout: float | None

    def write(self, data: bytes) -> int | None:
        """Write all of it, or raise when that takes too long."""
        ...

    def read_until(self, expected: bytes = b"\n", size: int | None = None) -> bytes:
        """Read up to and with `expected`, up to `size` bytes; less when `timeout` seconds are over."""
        ...

    def reset_input_buffer(self) -> None:
        """Forget what has come and was not read."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class SerialReceiver:
    """Opens the port when it is there, notices when it is not any more, and opens it again."""

    def __init__(self, settings: SerialSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._serial = need_library("serial", "serial", "[sinks.serial]")
        self._port: Port | None = None
        self._heard_s = 0.0

    def wants(self, event: Event) -> bool:
        """Decisions."""
        return event.decision is not None

    def start(self, session: Session) -> None:
        """The port is opened by the first `tick`."""

    def tick(self) -> float | None:
        """Open the port, or ask whether the board is still there."""
        if self._port is None:
            self._open()
        elif self._clock.now_s() - self._heard_s >= self._settings.ping_s:
            self._ask("PING")
        return max(0.01, self._settings.ping_s - (self._clock.now_s() - self._heard_s))

    def deliver(self, event: Event) -> None:
        """One line, one answer."""
        decision = event.decision
        assert decision is not None
        verb = "OPEN" if decision.kind == "accepted" else "UNSURE"
        self._ask(f"{verb} {plain_name(decision.bin)}")

    def close(self) -> None:
        """Flaps to rest, then let go."""
        if self._port is not None:
            with contextlib.suppress(Exception):
                self._ask("REST")
        self._drop()

    def _open(self) -> None:
        settings = self._settings
        port: Port = self._serial.serial_for_url(
            settings.port, baudrate=settings.baud, timeout=settings.ready_s, write_timeout=settings.reply_s
        )
        self._port = port
        try:
            if settings.ready_s:
                port.read_until(b"READY\n", _LINE_BYTES)  # a board that does not restart says nothing: PING decides
            port.timeout = settings.reply_s
            port.reset_input_buffer()
            self._ask("PING")
        except BaseException:
            self._drop()
            raise

    def _ask(self, line: str) -> None:
        port = self._port
        if port is None:
            raise ConnectionError(f"{self._settings.port} is not open")
        try:
            port.write(line.encode("ascii", "replace") + b"\n")
            answer = port.read_until(b"\n", _LINE_BYTES).decode("ascii", "replace").strip()
        except Exception:
            self._drop()  # unplugged: the device behind the name is another one when it comes back
            raise
        if answer.startswith("ERR"):
            self._heard_s = self._clock.now_s()
            raise DeliveryRefusedError(f"the board answered {answer!r} to {line!r}")
        if answer != "OK":
            self._drop()
            raise TimeoutError(f"{self._settings.port} answered {answer!r} to {line!r}, not OK")
        self._heard_s = self._clock.now_s()

    def _drop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            with contextlib.suppress(Exception):
                port.close()


def plain_name(name: str) -> str:
    """A bin's name as it may stand in a line: no line ends or other control characters."""
    return re.sub(r"[^\x20-\x7e]+", "?", name).strip()


def open_serial(settings: SerialSettings, clock: Clock) -> QueuedSink:
    """The sink of `[sinks.serial]`; `ConfigError` if pyserial is missing. The port may come later."""
    rules = QueueRules(
        limit=8,
        max_age_s=settings.max_age_s,
        first_s=settings.first_s,
        cap_s=settings.cap_s,
        flush_s=0.0,
        block_s=settings.ready_s + 2 * settings.reply_s,
    )
    return QueuedSink("serial", SerialReceiver(settings, clock), rules, clock)
