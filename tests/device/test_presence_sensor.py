from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from device.camera import ScriptedCamera
from device.presence import PresenceDetector, PresenceReading
from device.presence_sensor import GpioSensor, SensedPresence, SensorSettings, make_presence, open_sensor
from smartbin.errors import ConfigError
from tests.device.staging import Bin, frames_of
from tests.device.test_daemon import build

IMAGE = np.zeros((48, 64, 3), np.uint8)


class Told:
    """A detector and a sensor that say what they are told."""

    def __init__(self, **settings):
        self.seen, self.sensed, self.relearned, self.closed = False, False, 0, False
        self.presence = SensedPresence(self, SensorSettings(pin=17, **settings), self)
        self.now_s = 0.0

    def update(self, now_s, image):
        return PresenceReading(self.seen, still=True, area=0.7)

    def relearn(self):
        self.relearned += 1

    def present(self):
        if isinstance(self.sensed, Exception):
            raise self.sensed
        return self.sensed

    def close(self):
        self.closed = True

    def watch(self, seconds, *, seen=None, sensed=None):
        """The last answer after so many seconds of this."""
        self.seen = self.seen if seen is None else seen
        self.sensed = self.sensed if sensed is None else sensed
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            reading = self.presence.update(self.now_s, IMAGE)
        return reading.present


class TestSensedPresence:
    def test_the_sensor_decides_and_the_picture_says_the_rest(self):
        told = Told()
        assert not told.watch(1, seen=True, sensed=False)
        assert told.watch(1, seen=False, sensed=True)
        reading = told.presence.update(told.now_s, IMAGE)
        assert (reading.still, reading.area) == (True, 0.7)

    def test_one_that_is_stuck_is_not_believed_until_it_changes(self, caplog):
        told = Told(stuck_s=10)
        assert told.watch(9, seen=False, sensed=True)
        assert not told.watch(2), "the picture shows nothing"
        assert not told.watch(60)
        assert told.presence.doubt is not None
        assert caplog.text.count("shows nothing") == 1, "said once"
        told.watch(0.2, sensed=False)
        assert told.presence.doubt is None
        assert told.watch(0.2, sensed=True)
        assert "believed again" in caplog.text

    def test_an_item_that_both_see_is_never_stuck(self):
        told = Told(stuck_s=10)
        assert told.watch(100, seen=True, sensed=True)

    def test_one_that_misses_item_after_item_is_not_believed_until_it_sees_one(self, caplog):
        told = Told(missed_items=3)
        for _ in range(3):
            assert not told.watch(2, seen=True, sensed=False)
            told.watch(2, seen=False)
        assert told.watch(2, seen=True), "now the picture decides"
        assert "3 items" in caplog.text
        assert not told.watch(1, seen=False)
        assert told.watch(0.1, sensed=True)
        assert told.presence.doubt is None

    def test_shadows_that_pass_are_no_missed_items(self):
        told = Told(missed_items=3)
        for _ in range(20):
            told.watch(0.5, seen=True, sensed=False)
            told.watch(2, seen=False)
        assert told.presence.doubt is None

    def test_one_that_cannot_be_read_leaves_it_to_the_picture(self, caplog):
        told = Told()
        assert told.watch(1, seen=True, sensed=OSError("bus"))
        assert not told.watch(1, seen=False)
        assert caplog.text.count("cannot be read: bus") == 1
        assert told.watch(0.2, sensed=True)

    def test_relearning_and_closing_are_passed_on(self):
        told = Told()
        told.presence.relearn()
        told.presence.close()
        assert (told.relearned, told.closed) == (1, True)


@pytest.fixture
def pins(monkeypatch):
    """gpiozero's mock pins."""
    gpiozero = pytest.importorskip("gpiozero")
    from gpiozero.pins.mock import MockFactory

    factory = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.reset()


class TestGpioSensor:
    @pytest.mark.parametrize(
        ("settings", "idle_high", "there_high"),
        [
            ({}, True, False),
            ({"pull": "up", "inverted": True}, False, True),
            ({"pull": "down"}, False, True),
            ({"pull": "none"}, False, True),
            ({"pull": "none", "inverted": True}, True, False),
        ],
    )
    def test_levels(self, pins, settings, idle_high, there_high):
        pin = pins.pin("GPIO17")

        def drive(high):
            pin.drive_high() if high else pin.drive_low()

        sensor = GpioSensor(SensorSettings(pin=17, **settings))
        drive(idle_high)
        sensor.present()  # what it saw while it was set up
        assert not sensor.present()
        drive(there_high)
        assert sensor.present()
        assert sensor.present()
        drive(idle_high)
        sensor.present()
        assert not sensor.present()
        sensor.close()

    def test_a_pulse_between_two_frames_is_not_lost(self, pins):
        sensor = GpioSensor(SensorSettings(pin="GPIO4"))
        pins.pin("GPIO4").drive_low()
        pins.pin("GPIO4").drive_high()
        assert sensor.present()
        assert not sensor.present()
        sensor.close()

    def test_the_pin_is_free_after_closing(self, pins):
        GpioSensor(SensorSettings(pin=17)).close()
        sensor = GpioSensor(SensorSettings(pin=17))
        with pytest.raises(ConfigError, match="cannot be used") as caught:
            GpioSensor(SensorSettings(pin=17))
        assert "17" in str(caught.value)
        sensor.close()

    def test_a_pin_that_is_none(self, pins):
        with pytest.raises(ConfigError, match="cannot be used"):
            GpioSensor(SensorSettings(pin="GPIO999"))

    def test_without_gpiozero(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "gpiozero", None)
        with pytest.raises(ConfigError, match="needs gpiozero") as caught:
            GpioSensor(SensorSettings(pin=17))
        assert "smartbin[gpio]" in str(caught.value)


class JetsonPins(types.ModuleType):
    """Stands in for Jetson.GPIO's inputs: its names as its documentation gives them."""

    BOARD, IN, LOW, HIGH, RISING, FALLING = 10, 1, 0, 1, 31, 32

    def __init__(self):
        super().__init__("Jetson.GPIO")
        self.levels, self.watched, self.mode = {}, {}, None

    def setmode(self, mode):
        self.mode = mode

    def setup(self, pin, direction):
        if pin in self.levels or pin > 40:
            raise ValueError(f"pin {pin} is not to be had")
        assert (self.mode, direction) == (self.BOARD, self.IN)
        self.levels[pin] = self.HIGH

    def add_event_detect(self, pin, edge, callback):
        self.watched[pin] = (edge, callback)

    def remove_event_detect(self, pin):
        del self.watched[pin]

    def input(self, pin):
        return self.levels[pin]

    def cleanup(self, pin):
        del self.levels[pin]

    def drive(self, pin, level):
        edge, callback = self.watched[pin]
        if level != self.levels[pin] and edge == (self.RISING if level else self.FALLING):
            callback(pin)
        self.levels[pin] = level


class TestJetsonSensor:
    @pytest.fixture
    def library(self, monkeypatch):
        library, package = JetsonPins(), types.ModuleType("Jetson")
        package.GPIO = library
        monkeypatch.setitem(sys.modules, "Jetson", package)
        monkeypatch.setitem(sys.modules, "Jetson.GPIO", library)
        return library

    @pytest.mark.parametrize(
        ("settings", "there"), [({}, 0), ({"inverted": True}, 1), ({"pull": "down"}, 1), ({"pull": "none"}, 1)]
    )
    def test_levels_and_pulses(self, library, settings, there):
        sensor = open_sensor(SensorSettings(pin=15, board="jetson", **settings))
        library.drive(15, 1 - there)
        sensor.present()
        assert not sensor.present()
        library.drive(15, there)
        assert sensor.present()
        assert sensor.present()
        library.drive(15, 1 - there)
        assert not sensor.present()
        library.drive(15, there)
        library.drive(15, 1 - there)
        assert sensor.present(), "a pulse between two frames"
        sensor.close()
        assert (library.levels, library.watched) == ({}, {})

    def test_a_pin_that_is_none(self, library):
        with pytest.raises(ConfigError, match="cannot be used"):
            open_sensor(SensorSettings(pin=99, board="jetson"))
        with pytest.raises(ValueError, match="number on the header"):
            SensorSettings(pin="GPIO17", board="jetson")

    def test_without_its_library(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "Jetson", None)
        monkeypatch.setitem(sys.modules, "Jetson.GPIO", None)
        with pytest.raises(ConfigError, match="lacks its library") as caught:
            open_sensor(SensorSettings(pin=15, board="jetson"))
        assert "smartbin[jetson]" in str(caught.value)


def test_without_a_sensor_the_picture_decides_alone():
    detector = PresenceDetector()
    assert make_presence(detector, None) is detector
    told = Told()
    assert isinstance(make_presence(detector, SensorSettings(pin=1), lambda settings: told), SensedPresence)


def test_the_daemon_lets_go_of_the_sensor_and_decides_by_its_word():
    """Nothing is to be seen, and the sensor says that something is there: it is judged, by what the picture shows."""
    told = Told()
    frames = frames_of([Bin().holding("red", size=0.9)] * 30)

    class Coming(ScriptedCamera):
        def read(self):
            frame = super().read()
            told.sensed = frame is not None and frame.seq > 10
            return frame

    daemon, recorder, _, _ = build(lambda: Coming(frames))
    daemon._pipeline._presence = SensedPresence(told, SensorSettings(pin=17), PresenceDetector())
    assert daemon.run().items == 1
    assert recorder.labels == ["red"]
    assert told.closed
