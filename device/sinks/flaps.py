"""A flap is open or at rest. What moves it is a servo or a solenoid."""

from __future__ import annotations

import threading
from typing import Protocol

from device.sinks.boards import Servo, Switch


class Flap(Protocol):
    """What opens the way into one bin. `open` and `rest` may be repeated; nothing here waits."""

    def open(self) -> None:
        """Open, and stay open."""
        ...

    def rest(self) -> None:
        """Close."""
        ...

    def release(self) -> None:
        """It has had the time to move: no force any more."""
        ...

    def close(self) -> None:
        """Let go of the pins."""
        ...


class ServoFlap:
    """Two angles, in degrees."""

    def __init__(self, servo: Servo, open_angle: float, rest_angle: float) -> None:
        self._servo, self._open_angle, self._rest_angle = servo, open_angle, rest_angle

    def open(self) -> None:
        """To the open angle."""
        self._servo.move(self._open_angle)

    def rest(self) -> None:
        """To the rest angle."""
        self._servo.move(self._rest_angle)

    def release(self) -> None:
        """End the pulses."""
        self._servo.release()

    def close(self) -> None:
        """Let go of the pin."""
        self._servo.close()


class SolenoidFlap:
    """On while open, but never for longer than `max_on_s`: a coil that stays on burns.

    A timer of its own switches it off, even where everything else of this process is stuck; until the next `rest` it
    then stays off.
    """

    def __init__(self, switch: Switch, max_on_s: float) -> None:
        self._switch, self._max_on_s = switch, max_on_s
        self._lock = threading.Lock()
        self._limit: threading.Timer | None = None

    def open(self) -> None:
        """Switch on, unless it was not at rest since the last time."""
        with self._lock:
            if self._limit is not None:
                return
            self._limit = threading.Timer(self._max_on_s, self._off)
            self._limit.daemon = True
            self._limit.start()
            self._switch.on()

    def rest(self) -> None:
        """Switch off."""
        with self._lock:
            if self._limit is not None:
                self._limit.cancel()
            self._limit = None
            self._switch.off()

    def release(self) -> None:
        """At rest it is off already."""

    def close(self) -> None:
        """Switch off and let go of the pin."""
        self.rest()
        self._switch.close()

    def _off(self) -> None:
        with self._lock:
            if self._limit is not None:
                self._switch.off()
