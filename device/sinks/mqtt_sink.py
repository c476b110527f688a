"""The bin on an MQTT broker: availability, retained state, events, Home Assistant's discovery, the fleet's commands.

Events go through an outbox on disk and leave it when the broker has acknowledged them: in order, at least once, each
with an id by which a receiver knows a second copy. The state is the newest only and is not kept. Answers to commands
wait in memory until the broker has them.
"""

from __future__ import annotations

import json
import os
import ssl
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from device.backoff import Backoff
from device.clock import Clock
from device.events import Session
from device.sinks.bin_state import BinReport, BinState
from device.sinks.health import SinkCounts
from device.sinks.home_assistant import discovery_record, discovery_topic
from device.sinks.json_lines import event_record
from device.sinks.library import need_library
from device.sinks.mqtt_connection import Ack, Broker, Listening, MqttConnection
from device.sinks.outbox import Outbox
from device.sinks.secret import read_secret
from device.sinks.settings import MqttSettings
from device.sinks.thread_sink import ThreadSink
from device.sinks.topics import OFFLINE, ONLINE, Topics
from smartbin import __version__
from smartbin.errors import ConfigError

if TYPE_CHECKING:
    from device.fleet.desk import CommandDesk
    from device.fleet.messages import Answer

_QUEUE = 1000  # events on their way to the disk
_STEADY_S = 5.0  # a connection that lasts for so long is worth opening again at once
_QUARREL = 3  # so many in a row that did not: brokers end a client's connection when another of its name comes
_BLOCK_S = 2.0  # goodbye to a broker that hangs
_COMMANDS, _COMMAND_PACKET_BYTES = 32, 32 * 1024  # what may wait, and how large one may be
_ANSWERS = 200
_TEST_S = 3.0
_OPEN_S = 10.0  # for the whole of connecting; the broker may accept and then say nothing


class MqttSink(ThreadSink):
    """Owns the connection and the outbox; both are used by its thread only."""

    def __init__(self, settings: MqttSettings, name: str, clock: Clock) -> None:
        need_library("paho.mqtt.client", "mqtt", "[sinks.mqtt]")
        super().__init__("mqtt", queue_limit=_QUEUE, flush_s=settings.flush_s, block_s=_BLOCK_S, clock=clock)
        self._settings, self._name = settings, name
        self._topics = Topics(settings.topic_prefix, name)
        self._broker = make_broker(settings, name)
        self._path = buffer_path(settings, name)
        self._backoff = Backoff(settings.first_s, settings.cap_s)
        self._not_before_s = 0.0
        self._connection: MqttConnection | None = None
        self._opened_s, self._short_lives = 0.0, 0
        self._outbox: Outbox | None = None
        self._newest_sent = 0  # number of the newest letter that this connection has sent
        self._unanswered: dict[int, int] = {}  # paho's message number -> letter, 0 for what is not in the outbox
        self._state_is_old, self._state_due_s = True, 0.0
        self._greeted = False
        self._report: Callable[[], BinReport] = BinReport
        self._desk: CommandDesk | None = None
        self._answers: deque[Answer] = deque(maxlen=_ANSWERS)
        self._answers_sent: dict[int, Answer] = {}  # paho's message number -> answer without an acknowledgement

    def join(self, report: Callable[[], BinReport], desk: CommandDesk | None) -> None:
        """Before the start: what the state is to hold beside the events, and who takes commands; None: nobody."""
        self._report, self._desk = report, desk
        if desk is not None:
            desk.open(self._answer)

    def say_anew(self) -> None:
        """What `report` says has changed: send the state now. Any thread may ask."""
        self._state_is_old = True
        self._queue.wake()

    def _answer(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._queue.wake()

    @property
    def counts(self) -> SinkCounts:
        """What became of the events so far; those in the outbox wait."""
        outbox = self._outbox
        waiting, dropped = (len(outbox), outbox.dropped) if outbox is not None else (0, 0)
        return self._health.counts(len(self._queue) + waiting, self._queue.overflowed + dropped)

    def _work(self, session: Session) -> None:
        state = BinState(self._name, session, __version__, self._clock)
        outbox = Outbox(self._path, self._settings.buffer_events)
        self._outbox = outbox
        try:
            while True:
                self._store(outbox, state, session)
                self._connect()
                self._follow(outbox)
                self._send(outbox, state, session)
                if self._is_over(outbox):
                    break
                self._queue.wait(self._wait_s())
        finally:
            self._say_goodbye()
            outbox.close()

    def ask_to_stop(self) -> None:
        """Also break off what a command has begun."""
        if self._desk is not None:
            self._desk.close(0.0)
        super().ask_to_stop()

    def close(self) -> None:
        """Also wait a little for a self-test, so that the process does not end in the middle of one."""
        super().close()
        if self._desk is not None:
            self._desk.close(_TEST_S)

    def _store(self, outbox: Outbox, state: BinState, session: Session) -> None:
        payloads = []
        for queued in self._queue.take_all():
            state.update(queued.event)
            record = {"device": self._name, **event_record(queued.event, session.classes)}
            payloads.append(json.dumps(record, ensure_ascii=False).encode())
        if payloads:
            self._state_is_old = True
            outbox.append(*payloads)

    def _connect(self) -> None:
        now_s = self._clock.now_s()
        if self._connection is None and now_s >= self._not_before_s and not self._stopping.is_set():
            self._newest_sent, self._unanswered = 0, {}
            self._state_is_old, self._greeted, self._opened_s = True, False, now_s
            commands = None
            if self._desk is not None:
                commands = Listening((self._topics.command,), False, _COMMANDS, _COMMAND_PACKET_BYTES)
            self._connection = MqttConnection(self._broker, self._topics.availability, self._queue.wake, commands)

    def _follow(self, outbox: Outbox) -> None:
        """See what has become of the connection and of what was sent over it."""
        connection = self._connection
        if connection is None:
            return
        lost = connection.lost  # looked at before the answers: none comes after it
        acks = [(self._unanswered.pop(ack.message, None), ack) for ack in connection.take_acks()]
        outbox.remove(letter for letter, ack in acks if letter and (ack.forever or not ack.refusal))
        for letter, ack in acks:
            self._answers_sent.pop(ack.message, None)
            if letter is not None:
                self._answered(outbox, letter, ack)
        if self._desk is not None:
            for message in connection.take_messages():
                self._desk.take(message.payload, retained=message.retained)
        if not lost and not connection.ready and self._clock.now_s() - self._opened_s >= _OPEN_S:
            lost = f"{self._broker!r} does not answer"
        if lost:
            self._drop_connection(lost)

    def _answered(self, outbox: Outbox, letter: int, ack: Ack) -> None:
        if ack.refusal and not ack.forever:
            self._drop_connection(f"{self._broker!r} refuses a message: {ack.refusal}")
        elif ack.refusal:
            self._health.failed(f"{self._broker!r} will never take a message: {ack.refusal}")
            self._health.dropped += 1
        elif letter or not outbox:
            self._health.sent += bool(letter)
            self._health.worked()

    def _send(self, outbox: Outbox, state: BinState, session: Session) -> None:
        connection = self._connection
        if connection is None or not connection.ready:
            return
        if not self._greeted:
            self._greeted = True
            if self._settings.discovery:
                record = discovery_record(self._name, self._topics, session, __version__)
                self._publish(connection, discovery_topic(self._settings.discovery_prefix, self._name), record)
            self._unanswered[connection.publish(self._topics.availability, ONLINE.encode(), retain=True)] = 0
        now_s = self._clock.now_s()
        if (self._state_is_old or now_s >= self._state_due_s) and 0 not in self._unanswered.values():
            self._state_is_old, self._state_due_s = False, now_s + self._settings.state_every_s
            self._publish(connection, self._topics.state, state.record(self._report()))
        self._send_answers(connection)
        room = connection.window - len(self._unanswered)
        for letter in outbox.after(self._newest_sent, room) if room > 0 else ():
            self._unanswered[connection.publish(self._topics.event, letter.payload)] = letter.number
            self._newest_sent = letter.number

    def _send_answers(self, connection: MqttConnection) -> None:
        while self._answers and len(self._unanswered) < connection.window:
            answer = self._answers.popleft()
            message = connection.publish(self._topics.answer, answer.model_dump_json().encode())
            self._unanswered[message], self._answers_sent[message] = 0, answer
            self._state_is_old = self._state_is_old or answer.final

    def _publish(self, connection: MqttConnection, topic: str, record: dict[str, object]) -> None:
        payload = json.dumps(record, ensure_ascii=False).encode()
        self._unanswered[connection.publish(topic, payload, retain=True)] = 0

    def _drop_connection(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        now_s = self._clock.now_s()
        if now_s - self._opened_s >= _STEADY_S:
            self._backoff.reset()
        self._short_lives = self._short_lives + 1 if connection.ready and now_s - self._opened_s < _STEADY_S else 0
        hint = ": perhaps another client has this bin's name" if self._short_lives >= _QUARREL else ""
        self._health.failed(reason + hint)
        self._not_before_s = now_s + self._backoff.next_s()
        self._answers.extendleft(reversed(self._answers_sent.values()))
        self._answers_sent.clear()
        connection.close()

    def _is_over(self, outbox: Outbox) -> bool:
        if not self._stopping.is_set() or len(self._queue):
            return False
        if self._connection is None or self._clock.now_s() >= self._flush_until_s:
            return True  # what is in the outbox is sent after the next start
        return not outbox and not self._answers and not self._unanswered and not self._state_is_old

    def _wait_s(self) -> float | None:
        now_s = self._clock.now_s()
        times_s = [self._flush_until_s]
        if self._connection is None:
            times_s.append(self._not_before_s)
        elif not self._connection.ready:
            times_s.append(self._opened_s + _OPEN_S)
        elif 0 not in self._unanswered.values():  # else an answer wakes it
            times_s.append(self._state_due_s)
        wait_s = max(0.0, min(times_s) - now_s)
        return wait_s if wait_s != float("inf") else None

    def _say_goodbye(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.ready and not connection.lost:
            connection.publish(self._topics.availability, OFFLINE.encode(), retain=True)
        connection.close()


def make_broker(settings: MqttSettings, name: str) -> Broker:
    """Where to connect; `ConfigError` for files of the configuration that cannot be used."""
    context = None
    if settings.tls:
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if settings.client_cert is not None:
                context.load_cert_chain(settings.client_cert, settings.client_key)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                "cannot use the certificates",
                where="[sinks.mqtt] ca_file, client_cert, client_key",
                found=error,
                expected="PEM files that this user may read",
            ) from error
    return Broker(
        host=settings.host,
        port=settings.resolved_port,
        client_id=f"smartbin-{name}",
        keepalive_s=settings.keepalive_s,
        user=settings.user,
        password=read_secret(settings.password, settings.password_file, "[sinks.mqtt] password_file"),
        tls=context,
    )


def buffer_path(settings: MqttSettings, name: str) -> Path:
    """The configured file, else `$XDG_DATA_HOME/smartbin/mqtt-NAME.db`, else below `~/.local/share`."""
    if settings.buffer_file is not None:
        return settings.buffer_file
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "smartbin" / f"mqtt-{name}.db"
    except RuntimeError as error:  # a service without a home
        raise ConfigError(
            "no place for the broker's events", where="[sinks.mqtt]", found=error, fix="set buffer_file"
        ) from error
