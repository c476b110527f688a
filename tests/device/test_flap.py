"""`smartbin flap`, with mock pins and a board at a pseudo-terminal."""

from __future__ import annotations

import pytest

pytest.importorskip("gpiozero", reason="no gpiozero here (pip install 'smartbin[gpio]')")
pytest.importorskip("serial", reason="no pyserial here (pip install 'smartbin[serial]')")

import gpiozero
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.cli import main
from tests.device.arduino import Arduino

CONFIG = """
[sinks.gpio]
enabled = true
settle_s = 0.02
[sinks.gpio.bins.recycling]
solenoid = 23
hold_s = 0.1
[sinks.gpio.unsure]
led = 27
blinks = 1
blink_s = 0.02
[sinks.serial]
enabled = {serial}
port = "{folder}/board"
ready_s = 0.3
"""


@pytest.fixture
def pins(monkeypatch):
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    return factory


@pytest.fixture
def flap(tmp_path):
    def call(*words: str, serial="false") -> int:
        (tmp_path / "bin.toml").write_text(CONFIG.format(folder=tmp_path, serial=serial))
        return main(["flap", *words, "--config", str(tmp_path / "bin.toml")])

    return call


def switched(pin) -> list[bool]:
    return [state.state for state in pin.states]


def test_open_and_back(pins, flap, capsys):
    assert flap("open", "recycling") == 0
    assert capsys.readouterr().out == "gpio: done\n"
    states = switched(pins.pin(23))
    assert True in states
    assert not pins.pin(23).state


def test_unsure(pins, flap):
    assert flap("unsure") == 0
    assert True in switched(pins.pin(27))
    assert True not in switched(pins.pin(23))  # general has no flap here


def test_unsure_opens_the_bin_that_the_table_names(pins, flap, monkeypatch):
    monkeypatch.setenv("SMARTBIN_DECISION__BINS__UNCERTAIN", "recycling")
    assert flap("unsure") == 0
    assert True in switched(pins.pin(23))


def test_rest_opens_nothing(pins, flap):
    assert flap("rest") == 0
    assert True not in switched(pins.pin(23))


def test_a_board_is_asked_too(pins, flap, tmp_path):
    board = Arduino(tmp_path / "board").plug_in()
    try:
        assert flap("open", "recycling", serial="true") == 0
        assert flap("rest", serial="true") == 0
    finally:
        board.unplug()
    assert board.asked() == ["OPEN recycling", "REST", "REST"]


def test_what_cannot_be_done_is_said(pins, flap, capsys):
    assert flap("open", "recycling", serial="true") == 1
    captured = capsys.readouterr()
    assert captured.out == "gpio: done\n"
    assert captured.err.splitlines()[-1].startswith("serial: ")
    assert flap("open", "compost") == 2
    assert "expected: recycling" in capsys.readouterr().err


def test_without_anything_that_moves(tmp_path, capsys):
    assert main(["flap", "rest"]) == 0  # all is at rest
    assert main(["flap", "unsure"]) == 2
    assert "nothing is configured that could move" in capsys.readouterr().err
