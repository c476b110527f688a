"""The desk's connection to the broker: opened again when it is lost, and read by one thread that may wait."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from device.backoff import Backoff
from device.sinks.mqtt_connection import Broker, Incoming, Listening, MqttConnection
from smartbin.errors import FleetError

_FIRST_S, _CAP_S = 0.2, 5.0
_OPEN_S, _TRIES = 10.0, 4  # at the start; once it has been connected, it goes on for ever


class FleetLink:
    """Listens to the topics of all bins below `prefix`, and sends. Use it in a `with` statement, from one thread."""

    def __init__(self, broker: Broker, prefix: str) -> None:
        kinds = ("availability", "state", "answer")
        self._broker, self._listening = broker, Listening([f"{prefix}/+/{kind}" for kind in kinds], retained=True)
        self._changed = threading.Event()
        self._backoff = Backoff(_FIRST_S, _CAP_S)
        self._connection: MqttConnection | None = None
        self._not_before_s = 0.0
        self._trouble, self._tries = "", 0
        self.refused: dict[str, str] = {}  # by key, what the broker did not take, and why
        self._unsent: dict[str, tuple[str, bytes, bool]] = {}  # by key, until the broker has it
        self._sent: dict[int, str] = {}

    def __enter__(self) -> FleetLink:
        """Connect; `FleetError` if the broker does not answer or does not let us listen."""
        until_s = time.monotonic() + _OPEN_S
        while time.monotonic() < until_s and self._tries < _TRIES:
            self._keep_open()
            connection = self._connection
            if connection is not None and connection.listens:
                return self
            if connection is not None and connection.deaf:
                self._trouble = connection.deaf
                break
            self._wait(until_s)
        self.close()
        raise FleetError(
            "cannot listen to the fleet",
            where=self._broker,
            found=self._trouble or "no answer",
            fix="check --broker, --user and --password-file, or [sinks.mqtt] of --config, and the broker's rights",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, key: str, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message with QoS 1, again after a loss until the broker has it. `key` names it."""
        self._unsent[key] = (topic, payload, retain)
        if self._connection is not None and self._connection.listens:
            self._sent[self._connection.publish(topic, payload, retain=retain)] = key

    @property
    def settled(self) -> bool:
        """Whether the broker has, or has refused, all that was sent."""
        return not self._unsent

    def receive(self, timeout_s: float) -> list[Incoming]:
        """What has come; waits up to so long for something. Reconnects meanwhile."""
        until_s = time.monotonic() + timeout_s
        while True:
            self._keep_open()
            messages = self._connection.take_messages() if self._connection is not None else []
            if messages or time.monotonic() >= until_s:
                return messages
            self._wait(until_s)

    @property
    def trouble(self) -> str:
        """Why there is no connection at the moment, empty if there is one."""
        return "" if self._connection is not None and self._connection.listens else self._trouble or "connecting"

    def close(self) -> None:
        """Say goodbye."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _keep_open(self) -> None:
        connection, now_s = self._connection, time.monotonic()
        if connection is not None:
            for ack in connection.take_acks():
                if (key := self._sent.pop(ack.message, None)) is not None:
                    self._unsent.pop(key, None)
                    if ack.refusal:
                        self.refused[key] = ack.refusal
        if connection is not None and connection.lost:
            self._trouble, self._tries = connection.lost, self._tries + 1
            self._not_before_s = now_s + self._backoff.next_s()
            self.close()
        elif connection is not None and connection.listens and not self._sent:
            self._backoff.reset()
            for key, (topic, payload, retain) in self._unsent.items():
                self._sent[connection.publish(topic, payload, retain=retain)] = key
        if self._connection is None and now_s >= self._not_before_s:
            self._sent.clear()
            self._connection = MqttConnection(self._broker, None, self._changed.set, self._listening)

    def _wait(self, until_s: float) -> None:
        wait_s = until_s - time.monotonic()
        if self._connection is None:
            wait_s = min(wait_s, self._not_before_s - time.monotonic())
        self._changed.wait(max(0.0, wait_s))
        self._changed.clear()
