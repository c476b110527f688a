"""One connection to a broker, through paho-mqtt, from opening to loss; a new one is made after that.

paho would reconnect and send again by itself, but from memory. Here the outbox is what remembers, so that each event
has one place from which it is sent again. Only `close` waits: paho's thread calls `on_change`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from device.sinks.topics import OFFLINE

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_log = logging.getLogger(__name__)
_CONNECT_S = 5.0
_GOODBYE_S = 1.0
_REFUSED_FOREVER = (0x90, 0x95, 0x99)  # topic name invalid, packet too large, payload format invalid


@dataclass(frozen=True, slots=True)
class Broker:
    """Where and as whom to connect. `password` is kept out of every message."""

    host: str
    port: int
    client_id: str
    keepalive_s: int
    user: str
    password: str
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"


class Ack(NamedTuple):
    """The broker's answer to a message; `refusal` is empty where it took it, `forever` where it always will refuse."""

    message: int
    refusal: str = ""
    forever: bool = False


class Incoming(NamedTuple):
    """A message that has come. `retained`: the broker had it before this connection asked."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Listening:
    """Topics to subscribe to. `retained`: also what the broker keeps. Beyond `room` the oldest messages make room."""

    topics: Sequence[str]
    retained: bool
    room: int | None = None
    packet_bytes: int | None = None
    """Larger ones the broker keeps for itself."""


class MqttConnection:
    """Opens at once, on a thread of its own. `lost` says why it is over, `deaf` why the broker does not let it listen.

    `availability` is the topic on which the broker says that this client has vanished.
    """

    def __init__(
        self,
        broker: Broker,
        availability: str | None,
        on_change: Callable[[], None],
        listening: Listening | None = None,
    ) -> None:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        self.ready = False
        self.listens = False
        self.lost = self.deaf = ""
        self.window = 10
        self._on_change, self._broker, self._listening = on_change, broker, listening
        self._acks: deque[Ack] = deque()
        self._incoming: deque[Incoming] = deque(maxlen=listening.room if listening is not None else 0)
        self._gone = threading.Event()
        client = Client(
            CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = _CONNECT_S
        if availability is not None:
            client.will_set(availability, OFFLINE, qos=1, retain=True)
        if broker.user:
            client.username_pw_set(broker.user, broker.password or None)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_publish, client.on_subscribe, client.on_message = self._published, self._subscribed, self._came
        self._client: Client = client
        threading.Thread(target=self._open, name="mqtt-connect", daemon=True).start()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Hand a message to paho, QoS 1; its number comes back in an `Ack`."""
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def take_acks(self) -> list[Ack]:
        """What the broker has answered since the last time."""
        acks = []
        while self._acks:
            acks.append(self._acks.popleft())
        return acks

    def take_messages(self) -> list[Incoming]:
        """What has come since the last time."""
        messages = []
        while self._incoming:
            messages.append(self._incoming.popleft())
        return messages

    def close(self) -> None:
        """Say goodbye, then let go in any case: a broker that does not answer is not waited for long."""
        self._lose("closed")
        with contextlib.suppress(Exception):
            self._client.disconnect()
        if self.ready and not self._gone.wait(_GOODBYE_S):
            with contextlib.suppress(Exception):
                if isinstance(sock := self._client.socket(), socket.socket):
                    sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(Exception):
            if self._gone.wait(_GOODBYE_S):
                self._client.loop_stop()
        # no circle of references: paho's sockets are closed now, not when the garbage collector finds it
        self._client.on_connect = self._client.on_disconnect = self._client.on_publish = None
        self._client.on_subscribe = self._client.on_message = None

    def _open(self) -> None:
        try:
            self._client.connect(
                self._broker.host,
                self._broker.port,
                self._broker.keepalive_s,
                clean_start=True,
                properties=_limits(self._listening),
            )
            if self.lost:  # closed in the meantime
                self._client.disconnect()
            self._client.loop_start()
        except Exception as error:  # noqa: BLE001 - sockets, TLS and name resolution raise anything
            self._gone.set()
            self._lose(f"cannot connect to {self._broker!r}: {error}")

    def _connected(
        self, client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._lose(f"{self._broker!r} refuses the connection: {reason}")
            return
        self.window = min(self.window, getattr(properties, "ReceiveMaximum", self.window))
        self.ready = True
        if self._listening is not None:
            self._subscribe(client, self._listening)
        self._on_change()

    def _subscribe(self, client: Client, listening: Listening) -> None:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        send, send_not = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE, SubscribeOptions.RETAIN_DO_NOT_SEND
        options = SubscribeOptions(qos=1, retainHandling=send if listening.retained else send_not)
        client.subscribe([(topic, options) for topic in listening.topics])

    def _subscribed(
        self,
        client: Client,
        userdata: object,
        message: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        refusals = [str(reason) for reason in reasons if reason.is_failure]
        if refusals:
            self.deaf = f"{self._broker!r} does not let it listen: {', '.join(dict.fromkeys(refusals))}"
            _log.error("%s", self.deaf)
        else:
            self.listens = True
        self._on_change()

    def _came(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        self._incoming.append(Incoming(message.topic, bytes(message.payload), message.retain))
        self._on_change()

    def _disconnected(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._gone.set()
        said = f": {reason}" if flags.is_disconnect_packet_from_server else ""
        self._lose(f"the connection to {self._broker!r} is lost{said}")

    def _published(
        self, client: Client, userdata: object, message: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        refusal = str(reason) if reason.is_failure else ""
        self._acks.append(Ack(message, refusal, forever=bool(refusal) and reason.value in _REFUSED_FOREVER))
        self._on_change()

    def _lose(self, reason: str) -> None:
        if not self.lost:
            self.lost = reason
        self._on_change()


def _limits(listening: Listening | None) -> Properties | None:
    if listening is None or listening.packet_bytes is None:
        return None
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = listening.packet_bytes
    return properties
