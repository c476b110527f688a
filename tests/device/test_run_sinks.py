"""`smartbin run` with every sink at once: all are told the same, and where all of them fail, the bin decides."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("paho.mqtt", reason="no paho-mqtt here (pip install 'smartbin[mqtt]')")
pytest.importorskip("gpiozero", reason="no gpiozero here (pip install 'smartbin[gpio]')")
pytest.importorskip("serial", reason="no pyserial here (pip install 'smartbin[serial]')")

import gpiozero
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device import assembly
from device.cli import main
from device.clock import SystemClock
from device.config import load_config
from device.events import Event
from device.sinks import SinkGroup
from device.sinks.opening import open_sinks
from device.sources import parse_source
from smartbin.bundle import read_bundle
from smartbin.errors import StalledError
from smartbin.runtime import open_classifier
from tests.device.arduino import Arduino
from tests.device.broker import Listener, Mosquitto, free_port, needs_mosquitto, wait_until
from tests.device.test_sinks import NOW, SESSION, decision
from tests.device.test_webhook import Server

CONFIG = """
[device]
name = "kitchen"
[sinks.mqtt]
enabled = true
host = "127.0.0.1"
port = {mqtt}
buffer_file = "{folder}/outbox.db"
[sinks.gpio]
enabled = true
settle_s = 0.05
[sinks.gpio.bins.red]
servo = 17
[sinks.gpio.bins.green]
solenoid = 23
[sinks.serial]
enabled = true
port = "{folder}/board"
ready_s = 0.3
[sinks.webhook]
enabled = true
url = "http://127.0.0.1:{http}/"
[sinks]
json_lines = "{folder}/events.jsonl"
"""


@pytest.fixture
def arguments(tmp_path, story, tiny_bundle):
    def make(mqtt: int, http: int) -> list[str]:
        config = CONFIG.format(mqtt=mqtt, http=http, folder=tmp_path)
        (tmp_path / "bin.toml").write_text(config)
        run = ["run", "--config", str(tmp_path / "bin.toml"), "--source", f"scene:{story}", "--pace", "real"]
        return [*run, "--bundle", str(tiny_bundle)]

    return make


def decisions(tmp_path) -> list[dict]:
    records = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    return [record for record in records if record["event"] == "decision"]


@needs_mosquitto
def test_all_are_told_the_same(tmp_path, arguments, monkeypatch, capsys):
    monkeypatch.setattr(gpiozero.Device, "pin_factory", MockFactory(pin_class=MockPWMPin))
    broker, server = Mosquitto(tmp_path / "broker").start(), Server()
    board = Arduino(tmp_path / "board", bins=("red", "green")).plug_in()
    listener = Listener(broker.port)
    try:
        assert main(arguments(broker.port, server.http.server_port)) == 0
        wait_until(lambda: listener.on("smartbin/kitchen/availability")[-1:] == [b"offline"], "the goodbye")
        told = [json.loads(payload) for payload in listener.on("smartbin/kitchen/event")]
    finally:
        listener.close()
        board.unplug()
        server.close()
        broker.kill()
    written = decisions(tmp_path)
    assert [record["bin"] for record in written] == ["red", "green"]
    ids = [record["id"] for record in written]
    assert [record["id"] for record in told if record["event"] == "decision"] == ids
    assert [headers["X-Smartbin-Event"] for headers, _ in server.requests] == ids
    assert board.asked() == ["OPEN red", "OPEN green", "REST"]
    assert [record["state"] for record in told if record["event"] == "lifecycle"] == ["STARTING", "RUNNING", "STOPPING"]
    summary = [line.split() for line in capsys.readouterr().out.splitlines()]
    sent = {words[0]: words[1] for words in summary if words[2:3] == ["sent,"]}
    assert sent == {"gpio": "2", "serial": "2", "mqtt": "5", "webhook": "2", "json_lines": "5"}


def test_all_may_fail_and_the_bin_decides(tmp_path, arguments, capsys, caplog):
    """No broker, no server, no board, and no pins on this machine."""
    assert main(arguments(free_port(), free_port())) == 0
    assert [record["bin"] for record in decisions(tmp_path)] == ["red", "green"]
    for name in ("mqtt", "webhook", "serial"):
        assert caplog.text.count(f"{name} is failing") == 1
    assert "2 items: 2 right" in capsys.readouterr().out


def test_a_stalled_loop_brings_the_flaps_to_rest(tmp_path, arguments, tiny_bundle, monkeypatch):
    """The process ends without the main loop; before that, every sink with a thread is closed."""
    arguments(free_port(), free_port())
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    ended = []
    monkeypatch.setattr(assembly, "exit_stalled", ended.append)
    config, clock = load_config(tmp_path / "bin.toml", {"sinks.terminal": "off", "sinks.json_lines": ""}), SystemClock()
    sinks = SinkGroup(open_sinks(config, None, clock), reader_gone=lambda: None)
    bundle = read_bundle(tiny_bundle)
    classifier = open_classifier(bundle)
    daemon = assembly.assemble(config, parse_source("scene"), bundle, classifier, sinks, clock, None)
    sinks.start(SESSION)
    sinks.event(Event(NOW, "decision", decision=decision(bin="green")))
    wait_until(lambda: factory.pin(23).state == 1, "the flap")
    error = StalledError("stands still")
    daemon._watchdog._on_stall(error)
    assert ended == [error]
    assert factory.pin(23).state == 0
    classifier.close()
