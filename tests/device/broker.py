"""A real Mosquitto for the tests: started, killed and started again, with what it says to a listener."""

from __future__ import annotations

import getpass
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto here (apt-get install mosquitto)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """Look again and again, and return what is found; a generous limit, which only a failure reaches."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {timeout_s:g} s")
        time.sleep(0.01)
    return found


class Mosquitto:
    """A broker on a free port of this machine, which keeps its messages on disk when it is killed."""

    def __init__(self, folder: Path, *lines: str, listener: str | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        own = listener if listener is not None else "allow_anonymous true"
        self._config = folder / "mosquitto.conf"
        first = [f"listener {self.port} 127.0.0.1", own, f"user {getpass.getuser()}"]
        self._config.write_text("\n".join([*first, *lines]) + "\n")

    def start(self) -> Mosquitto:
        assert MOSQUITTO is not None
        log = (self.folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log)
        log.close()
        wait_until(self._answers, "the broker")
        return self

    def kill(self) -> None:
        """SIGKILL: it has no time to do anything."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; on SIGTERM it writes what it holds for its subscribers."""
        if self._process is not None:
            self.signal(how)
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "mosquitto.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Listener:
    """Subscribes and keeps what comes; connects again when the broker has been away, `lasting`: to what it missed."""

    def __init__(self, port: int, topics: str = "#", *, lasting: bool = False) -> None:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600 if lasting else 0

        self.messages: list[tuple[str, bytes, bool]] = []
        self._here = threading.Event()
        name = f"listener-{uuid.uuid4().hex[:8]}"
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv5)
        self._client.reconnect_delay_set(0.05, 0.2)
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: self._here.set()
        self._client.on_disconnect = lambda *_: self._here.clear()
        self._client.on_message = lambda _, __, got: self.messages.append((got.topic, got.payload, got.retain))
        self._client.connect_async("127.0.0.1", port, clean_start=not lasting, properties=properties)
        self._client.loop_start()
        self.wait()

    def wait(self) -> None:
        assert self._here.wait(20.0), "the listener is not connected"

    def on(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in list(self.messages) if name == topic]

    def items(self, topic: str) -> list[int]:
        """The item numbers of the decisions on a topic, second copies of an event left out."""
        seen, items = set(), []
        for payload in self.on(topic):
            record = json.loads(payload)
            if record["event"] == "decision" and record["id"] not in seen:
                seen.add(record["id"])
                items.append(record["item"])
        return items

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
