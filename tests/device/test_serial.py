"""The serial sink and a board at the other end of a pseudo-terminal, which is unplugged, silent, and refuses."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("serial", reason="no pyserial here (pip install 'smartbin[serial]')")

from device.clock import SystemClock
from device.events import Event
from device.sinks.serial_sink import open_serial, plain_name
from device.sinks.settings import SerialSettings
from smartbin.errors import ConfigError
from tests.device.arduino import Arduino
from tests.device.broker import wait_until
from tests.device.test_sinks import NOW, SESSION, decision


@pytest.fixture
def arduino(tmp_path):
    board = Arduino(tmp_path / "board").plug_in()
    yield board
    board.unplug()


@pytest.fixture
def open_sink(tmp_path):
    sinks = []

    def open_one(**changes):
        fields = {"enabled": True, "port": str(tmp_path / "board"), "ready_s": 0.3, "reply_s": 0.3, "ping_s": 0.05}
        fields |= {"first_s": 0.02, "cap_s": 0.05}
        sinks.append(open_serial(SerialSettings(**{**fields, **changes}), SystemClock()))
        sinks[-1].start(SESSION)
        return sinks[-1]

    yield open_one
    for sink in sinks:
        sink.close()


def item(number, **changes):
    return Event(NOW, "decision", decision=decision(item=number, **changes))


def test_one_line_a_decision_and_rest_at_the_end(arduino, open_sink):
    sink = open_sink()
    sink.event(item(1))
    sink.event(item(2, kind="uncertain", bin="general"))
    sink.event(item(3, kind="too_dark"))
    wait_until(lambda: sink.counts.sent == 3, "three answers")
    sink.close()
    assert arduino.asked() == ["OPEN recycling", "UNSURE general", "UNSURE general", "REST"]
    assert "PING" in arduino.lines


def test_a_board_that_refuses_is_not_asked_again(arduino, open_sink):
    sink = open_sink()
    sink.event(item(1, bin="compost"))
    sink.event(item(2))
    wait_until(lambda: sink.counts.sent == 1, "the second")
    assert arduino.asked() == ["OPEN compost", "OPEN recycling"]
    assert "ERR no such bin" in sink.counts.last_error
    assert sink.counts.dropped == 1


def test_unplugged_and_plugged_in_again(arduino, open_sink, caplog):
    sink = open_sink()
    sink.event(item(1))
    wait_until(lambda: sink.counts.sent == 1, "the first")
    arduino.unplug()
    wait_until(lambda: sink.counts.failing, "the loss, noticed without an event")
    arduino.plug_in()
    wait_until(lambda: not sink.counts.failing, "the return")
    sink.event(item(2, bin="general"))
    wait_until(lambda: sink.counts.sent == 2, "the second")
    assert arduino.asked() == ["OPEN recycling", "OPEN general"]
    assert caplog.text.count("serial is failing") == caplog.text.count("serial works again") == 1


def test_a_board_that_comes_late_and_decisions_that_are_stale_by_then(tmp_path, open_sink):
    sink = open_sink(max_age_s=0.2)
    sink.event(item(1))
    wait_until(lambda: sink.counts.failures >= 3, "no such port")
    wait_until(lambda: sink._clock.now_s() - sink._queue.peek().put_s > 0.2, "age")
    board = Arduino(tmp_path / "board").plug_in()
    try:
        wait_until(lambda: sink.counts.dropped == 1, "the stale one")
        sink.event(item(2, bin="general"))
        wait_until(lambda: sink.counts.sent == 1, "the fresh one")
        assert board.asked() == ["OPEN general"]
    finally:
        board.unplug()


def test_a_board_that_is_silent_is_a_failure_and_holds_nobody(arduino, open_sink):
    sink = open_sink(reply_s=0.05, ready_s=0.05, max_age_s=60)
    wait_until(lambda: "PING" in arduino.lines, "the first ping")
    arduino.silent = True
    sink.event(item(1))
    wait_until(lambda: sink.counts.failures >= 2, "failures")
    assert "not OK" in sink.counts.last_error
    arduino.silent = False
    wait_until(lambda: sink.counts.sent == 1, "the answer")


def test_names_cannot_smuggle_lines():
    assert plain_name("a\nREST") == "a?REST"
    assert plain_name("Glas, grün") == "Glas, gr?n"


def test_a_library_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ConfigError) as caught:
        open_serial(SerialSettings(), SystemClock())
    assert "pip install 'smartbin[serial]'" in str(caught.value)
