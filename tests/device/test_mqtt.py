from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

pytest.importorskip("paho.mqtt", reason="no paho-mqtt here (pip install 'smartbin[mqtt]')")

from device.clock import SystemClock
from device.events import Event
from device.sinks.bin_state import BinState
from device.sinks.home_assistant import discovery_record
from device.sinks.mqtt_sink import MqttSink, buffer_path
from device.sinks.settings import MqttSettings
from device.sinks.topics import Topics
from smartbin.errors import ConfigError
from tests.device.broker import Listener, Mosquitto, free_port, needs_mosquitto, wait_until
from tests.device.kill_bins import kill_bins
from tests.device.test_sinks import NOW, SESSION, decision

EVENTS, STATE, AVAILABILITY = "smartbin/kitchen/event", "smartbin/kitchen/state", "smartbin/kitchen/availability"


@pytest.fixture
def open_sink(tmp_path):
    sinks = []

    def open_one(port: int, **changes) -> MqttSink:
        fields = {"enabled": True, "host": "127.0.0.1", "port": port, "first_s": 0.05, "cap_s": 0.2}
        fields |= {"buffer_file": tmp_path / "outbox.db"}
        sink = MqttSink(MqttSettings(**{**fields, **changes}), "kitchen", SystemClock())
        sinks.append(sink)
        sink.start(SESSION)
        return sink

    yield open_one
    for sink in sinks:
        sink.close()


@pytest.fixture
def listen():
    listeners = []

    def listen_to(port: int, **how) -> Listener:
        listeners.append(Listener(port, **how))
        return listeners[-1]

    yield listen_to
    for listener in listeners:
        listener.close()


@contextmanager
def events_flow(sink: MqttSink, count: int):
    """Decisions 1 to `count`, a few hundred a second, while the body runs; at its end all are told."""
    pause = threading.Event()

    def produce():
        for number in range(1, count + 1):
            sink.event(item(number))
            pause.wait(0.003)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        yield
    finally:
        pause.set()
        producer.join()


KILLED_BIN = """
import sys, threading
from device.clock import SystemClock
from device.sinks.mqtt_sink import MqttSink
from device.sinks.settings import MqttSettings
from tests.device.test_mqtt import SESSION, item
settings = MqttSettings(host="127.0.0.1", port=int(sys.argv[1]), buffer_file=sys.argv[2])
sink = MqttSink(settings, "kitchen", SystemClock())
sink.start(SESSION)
for number in range(1, 26):
    sink.event(item(number))
while sink.counts.waiting < 25 or len(sink._queue):
    threading.Event().wait(0.01)
print("kept", flush=True)
threading.Event().wait()
"""
MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"


def make_certificates(folder) -> None:
    """An authority, and certificates of a server on this machine and of a bin."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    (folder / "names").write_text("subjectAltName = IP:127.0.0.1\n")
    for name in ("server", "bin"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signer)


def item(number: int, **changes) -> Event:
    return Event(NOW, "decision", decision=decision(item=number, **changes))


@needs_mosquitto
class TestBroker:
    def test_events_state_and_availability(self, mosquitto, open_sink, listen):
        listener = listen(mosquitto.port)
        sink = open_sink(mosquitto.port)
        sink.event(Event(NOW, "lifecycle", lifecycle="RUNNING"))
        for number in range(1, 4):
            sink.event(item(number))
        sink.event(item(4, kind="uncertain"))
        wait_until(lambda: len(listener.items(EVENTS)) == 4, "four events")
        wait_until(lambda: b'"decisions": 4' in b"".join(listener.on(STATE)[-1:]), "the state")
        sink.close()
        wait_until(lambda: listener.on(AVAILABILITY)[-1] == b"offline", "the goodbye")
        assert listener.on(AVAILABILITY)[0] == b"online"
        assert listener.items(EVENTS) == [1, 2, 3, 4]
        first = json.loads(listener.on(EVENTS)[1])
        assert (first["device"], first["label"], first["bin"]) == ("kitchen", "glass", "recycling")
        state = json.loads(listener.on(STATE)[-1])
        assert state["state"] == "RUNNING"
        assert state["last"]["decision"] == "uncertain"
        assert state["counts"]["accepted"] == 3
        assert state["counts"]["labels"] == {"glass": 3, "metal": 0, "paper": 0}
        assert (sink.counts.sent, sink.counts.waiting, sink.counts.failures) == (5, 0, 0)
        late = listen(mosquitto.port)
        wait_until(lambda: len(late.messages) >= 3, "what is retained")
        assert {topic for topic, _, retained in late.messages if retained} == {
            AVAILABILITY,
            STATE,
            "homeassistant/device/smartbin_kitchen/config",
        }

    def test_a_bin_that_vanishes_is_said_to_be_offline(self, mosquitto, open_sink, listen):
        listener = listen(mosquitto.port)
        sink = open_sink(mosquitto.port)
        wait_until(lambda: listener.on(AVAILABILITY) == [b"online"], "the bin")
        sink._connection._client.socket().shutdown(socket.SHUT_RDWR)  # without a goodbye
        wait_until(lambda: b"offline" in listener.on(AVAILABILITY), "the last will")
        wait_until(lambda: listener.on(AVAILABILITY)[-1] == b"online", "the bin again")

    def test_a_broker_that_is_killed_while_events_flow(self, mosquitto, open_sink, listen):
        """What the broker took in its last instant may die with it, before the listener has it; no more than that."""
        listener = listen(mosquitto.port)
        sink = open_sink(mosquitto.port, discovery=False)
        with events_flow(sink, 500):
            for so_far in (60, 160, 260):
                wait_until(lambda so_far=so_far: len(listener.items(EVENTS)) >= so_far, f"{so_far} events")
                mosquitto.kill()
                wait_until(lambda: sink.counts.failing, "the loss to be noticed")
                mosquitto.start()
                listener.wait()
        wait_until(lambda: sink.counts.sent == 500, "all answers")
        assert (sink.counts.waiting, sink.counts.dropped, sink.counts.failing) == (0, 0, False)
        wait_until(lambda: listener.items(EVENTS)[-1] == 500, "the last event")
        items = listener.items(EVENTS)
        assert items == sorted(items)
        assert 500 - len(items) <= 3 * 10  # three kills, ten messages at once

    def test_a_broker_that_is_restarted_while_events_flow(self, tmp_path, open_sink, listen):
        """A broker that keeps what it took, as an orderly ended one does: all come, in order."""
        broker = Mosquitto(tmp_path / "broker", "persistence true", f"persistence_location {tmp_path}/broker/").start()
        try:
            listener = listen(broker.port, lasting=True)
            sink = open_sink(broker.port, discovery=False)
            with events_flow(sink, 400):
                for so_far in (50, 150, 250):
                    wait_until(lambda so_far=so_far: len(listener.items(EVENTS)) >= so_far, f"{so_far} events")
                    broker.end()
                    wait_until(lambda: sink.counts.failing, "the loss to be noticed")
                    broker.start()
                    listener.wait()
            wait_until(lambda: len(listener.items(EVENTS)) == 400, "all events")
            assert listener.items(EVENTS) == list(range(1, 401))
            wait_until(lambda: sink.counts.sent == 400, "all answers")
        finally:
            broker.kill()

    def test_a_bin_that_is_restarted_while_the_broker_is_away(self, tmp_path, open_sink, listen):
        broker = Mosquitto(tmp_path / "broker")
        first = open_sink(broker.port)
        for number in range(1, 31):
            first.event(item(number))
        first.close()
        assert first.counts.waiting == 30
        second = open_sink(broker.port)
        for number in range(31, 41):
            second.event(item(number))
        wait_until(lambda: second.counts.waiting == 40, "the outbox")
        wait_until(lambda: second.counts.failing, "the broker to be missed")
        broker.start()
        try:
            listener = listen(broker.port)
            wait_until(lambda: len(listener.on(EVENTS)) + second.counts.sent >= 40, "all events")
            wait_until(lambda: second.counts.sent == 40, "all answers")
            items = listener.items(EVENTS)  # the listener may come after the first of them
            assert items == list(range(41 - len(items), 41))
        finally:
            broker.kill()

    def test_a_bin_that_is_killed_while_the_broker_is_away(self, tmp_path, open_sink, listen):
        broker = Mosquitto(tmp_path / "broker", "persistence false")
        command = [sys.executable, "-c", KILLED_BIN, str(broker.port), str(tmp_path / "outbox.db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "kept\n"
            child.kill()
        broker.start()
        try:
            listener = listen(broker.port)
            sink = open_sink(broker.port)
            wait_until(lambda: sink.counts.sent == 25, "what was on disk")
            wait_until(lambda: listener.items(EVENTS) == list(range(1, 26)), "all events, in order")
        finally:
            broker.kill()

    def test_bins_that_are_killed_at_random_moments_lose_nothing(self, tmp_path, open_sink, listen):
        """Five kills; 200 of them, with 20 restarts of the broker, are `python -m tests.device.kill_bins 200`."""
        outcome = kill_bins(tmp_path, rounds=5, broker_every=3, seed=4)
        assert outcome["lost"] == 0
        assert outcome["in_order"]
        assert outcome["committed"] > 50

    def test_a_broker_that_hangs_holds_nobody(self, mosquitto, open_sink, listen):
        sink = open_sink(mosquitto.port, flush_s=0.2)
        sink.event(item(1))
        wait_until(lambda: sink.counts.sent == 1, "one event")
        mosquitto.signal(signal.SIGSTOP)
        try:
            for number in range(2, 30):
                sink.event(item(number))
            sink.close()
            assert sink._thread is None
            assert sink.counts.waiting == 28
        finally:
            mosquitto.signal(signal.SIGCONT)
        again = open_sink(mosquitto.port)
        wait_until(lambda: again.counts.sent == 28, "the rest")

    def test_two_bins_of_one_name_are_told_so(self, mosquitto, open_sink, tmp_path):
        one = open_sink(mosquitto.port)
        wait_until(lambda: one._connection is not None and one._connection.ready, "the first bin")
        open_sink(mosquitto.port, buffer_file=tmp_path / "other.db")
        wait_until(lambda: "another client has this bin's name" in one.counts.last_error, "the quarrel")

    def test_what_the_broker_forbids_waits(self, tmp_path, open_sink, caplog):
        (tmp_path / "acl").write_text("topic readwrite smartbin/kitchen/state\ntopic readwrite homeassistant/#\n")
        broker = Mosquitto(tmp_path / "broker", f"acl_file {tmp_path}/acl").start()
        try:
            sink = open_sink(broker.port)
            sink.event(item(1))
            wait_until(lambda: sink.counts.failures >= 3, "three refusals")
            assert "Not authorized" in sink.counts.last_error
            assert (sink.counts.sent, sink.counts.waiting) == (0, 1)
            assert caplog.text.count("mqtt is failing") == 1
        finally:
            broker.kill()

    def test_user_and_password(self, tmp_path, open_sink, caplog):
        subprocess.run([MOSQUITTO_PASSWD, "-c", "-b", tmp_path / "users", "bin", "s3cret"], check=True)
        broker = Mosquitto(tmp_path / "broker", listener=f"password_file {tmp_path}/users").start()
        try:
            wrong = open_sink(broker.port, user="bin", password="wr0ng", buffer_file=tmp_path / "wrong.db")
            wait_until(lambda: "Not authorized" in wrong.counts.last_error, "the refusal")
            wrong.close()
            (tmp_path / "password").write_text("s3cret\n")
            right = open_sink(broker.port, user="bin", password_file=tmp_path / "password")
            right.event(item(1))
            wait_until(lambda: right.counts.sent == 1, "the event")
        finally:
            broker.kill()
        assert "wr0ng" not in caplog.text + repr(wrong.__dict__) + repr(wrong._broker)

    @pytest.mark.filterwarnings("ignore:.*unclosed <ssl.SSLSocket:ResourceWarning")  # paho's, where verifying fails
    @pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
    def test_tls_with_certificates_of_both_sides(self, tmp_path, open_sink):
        make_certificates(tmp_path)
        lines = [f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.key"]
        listener = "\n".join(["allow_anonymous true", *lines, "require_certificate true"])
        broker = Mosquitto(tmp_path / "broker", listener=listener).start()
        try:
            stranger = open_sink(broker.port, tls=True, buffer_file=tmp_path / "stranger.db")
            wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in stranger.counts.last_error, "the stranger's refusal")
            files = {"ca_file": tmp_path / "ca.pem", "client_cert": tmp_path / "bin.pem"}
            sink = open_sink(broker.port, tls=True, client_key=tmp_path / "bin.key", **files)
            sink.event(item(1))
            wait_until(lambda: sink.counts.sent == 1, "the event")
        finally:
            broker.kill()


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tls": True, "ca_file": "none.pem"}, "cannot use the certificates"),
            ({"password_file": "none"}, "cannot read a secret"),
        ],
    )
    def test_files_that_are_not_there(self, tmp_path, monkeypatch, changes, message):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match=message):
            MqttSink(MqttSettings(**changes), "kitchen", SystemClock())

    def test_a_library_that_is_not_there(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
        with pytest.raises(ConfigError) as caught:
            MqttSink(MqttSettings(), "kitchen", SystemClock())
        assert "pip install 'smartbin[mqtt]'" in str(caught.value)

    def test_where_the_outbox_is(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        assert buffer_path(MqttSettings(), "kitchen") == tmp_path / "smartbin" / "mqtt-kitchen.db"
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
        with pytest.raises(ConfigError, match="no place for the broker's events"):
            MqttSink(MqttSettings(), "kitchen", SystemClock())

    def test_a_broker_that_says_nothing(self, open_sink, monkeypatch):
        """It takes the connection and that is all; a bin that ends meanwhile does not wait for it."""
        monkeypatch.setattr("device.sinks.mqtt_sink._OPEN_S", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as mute:
            sink = open_sink(mute.getsockname()[1], flush_s=0.1)
            sink.event(item(1))
            wait_until(lambda: sink.counts.failures >= 2, "two tries")
            assert "does not answer" in sink.counts.last_error
            sink.close()
            assert sink.counts.waiting == 1

    def test_no_broker_no_noise(self, open_sink, caplog):
        sink = open_sink(free_port())
        wait_until(lambda: sink.counts.failures >= 4, "four tries")
        sink.close()
        assert caplog.text.count("is failing") == 1


def test_home_assistant_reads_the_state():
    """The discovery message has all that Home Assistant asks for, and its templates give the state's values."""
    jinja2 = pytest.importorskip("jinja2", reason="no jinja2 here")
    topics, state = Topics("smartbin", "kitchen"), BinState("kitchen", SESSION, "1.0")
    found = discovery_record("kitchen", topics, SESSION, "1.0")
    assert found["device"]["identifiers"] == ["smartbin_kitchen"]
    assert found["origin"]["name"] == "smartbin"
    assert (found["state_topic"], found["availability_topic"]) == (topics.state, topics.availability)
    parts = found["components"]
    assert len({part["unique_id"] for part in parts.values()}) == len(parts)
    assert {part["platform"] for part in parts.values()} == {"sensor", "binary_sensor"}

    def shown(key: str) -> str:
        text = json.dumps(state.record())
        return jinja2.Template(parts[key]["value_template"]).render(value_json=json.loads(text))

    assert [shown(key) for key in ("label", "confidence", "items", "camera")] == ["None", "None", "0", "OFF"]
    state.update(item(1))
    state.update(item(2, kind="uncertain"))
    state.update(Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged"))
    keys = ("label", "confidence", "decision", "flap", "state", "items", "uncertain", "class_0", "class_1", "camera")
    expected = ["glass", "90.0", "uncertain", "recycling", "CAMERA_LOST", "2", "1", "1", "0", "ON"]
    assert [shown(key) for key in keys] == expected
