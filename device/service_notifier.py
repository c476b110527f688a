"""Tells systemd how the daemon is (`Type=notify`): ready, what it does, alive, stopping.

The protocol is a line of text to a socket (sd_notify(3)). Without `NOTIFY_SOCKET` in the environment nobody listens.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

from device.clock import Clock
from device.events import Event, FrameView, Lifecycle, Session

_log = logging.getLogger(__name__)
_SOONER = 4  # times in the time that systemd waits
_STATUS: dict[Lifecycle, str] = {
    "STARTING": "waiting for the camera",
    "RUNNING": "watching",
    "CAMERA_LOST": "camera lost",
    "STOPPING": "stopping",
}


class ServiceNotifier:
    """A sink that says each change of lifecycle, and that the main loop is alive whenever that is due."""

    def __init__(self, address: str, clock: Clock, alive_every_s: float | None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address  # an abstract socket
        self._clock, self._alive_every_s = clock, alive_every_s
        self._said_s: float | None = None
        self._trouble = self._reloading = False
        self._session = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    @classmethod
    def of_environment(cls, clock: Clock, environment: MutableMapping[str, str] = os.environ) -> ServiceNotifier | None:
        """The one that systemd asks for, None if it does not. Child processes are not to speak in our name."""
        address, watchdog_us = environment.pop("NOTIFY_SOCKET", ""), environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):
            return None
        watched = watchdog_us.isdecimal() and int(watchdog_us) > 0 and meant in {"", str(os.getpid())}
        return cls(address, clock, int(watchdog_us) / 1e6 / _SOONER if watched else None)

    def start(self, session: Session) -> None:
        """Remember what runs, for the status."""
        self._session = f"{session.source}, {session.model}, {session.runtime}"

    def event(self, event: Event) -> None:
        """Say a change of lifecycle. The service is ready when the main loop begins, with a camera or without."""
        if event.lifecycle is None or (event.lifecycle == "STOPPING" and self._reloading):
            return
        if event.lifecycle == "RUNNING":  # until then the one before may come back
            self._reloading = False
        status = f"STATUS={_STATUS[event.lifecycle]}: {event.reason or self._session}".replace("\n", " ")
        first = {"STARTING": "READY=1\n", "STOPPING": "STOPPING=1\n"}.get(event.lifecycle, "")
        self._say(first + status)

    def reloading(self) -> None:
        """Another setup is being prepared; the run that ends for it is no stop of the service."""
        self._reloading = True
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reading the configuration again")

    def reloaded(self) -> None:
        """The setup was refused: the old one goes on."""
        self._reloading = False
        self._say(f"READY=1\nSTATUS={_STATUS['RUNNING']}: {self._session}; the new configuration was refused")

    def frame(self, view: FrameView) -> None:
        """Nothing."""

    def alive(self) -> None:
        """The main loop made progress."""
        if self._alive_every_s is None:
            return
        now_s = self._clock.now_s()
        if self._said_s is None or now_s - self._said_s >= self._alive_every_s:
            self._said_s = now_s
            self._say("WATCHDOG=1")

    def close(self) -> None:
        """Nothing: another run may follow this one."""

    def end(self) -> None:
        """No more is said."""
        self._socket.close()

    def _say(self, text: str) -> None:
        try:
            self._socket.sendto(text.encode(), self._address)
            self._trouble = False
        except OSError as error:  # systemd being restarted, or busy: the next one gets through
            if not self._trouble:
                self._trouble = True
                _log.warning("systemd cannot be told %r: %s", text.partition("\n")[0], error)
