"""Flaps, lights and a buzzer on gpiozero's mock pins, a stand-in for Jetson.GPIO, and the registers of a PCA9685."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import pytest

pytest.importorskip("gpiozero", reason="no gpiozero here (pip install 'smartbin[gpio]')")

import gpiozero
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.clock import ManualClock
from device.events import Event
from device.sinks.actuator_settings import GpioSettings
from device.sinks.boards import ServoBoard, Travel
from device.sinks.flaps import SolenoidFlap
from device.sinks.gpio_sink import GpioReceiver, open_gpio
from smartbin.errors import ConfigError
from tests.device.broker import wait_until
from tests.device.test_sinks import NOW, SESSION, decision

SERVO = {"servo": 17, "open_angle": 90, "rest_angle": 0, "hold_s": 3, "led": 22}
RECYCLING = {"recycling": SERVO, "general": {"solenoid": 23, "hold_s": 1.0, "max_on_s": 2.0}}


@pytest.fixture
def pins(monkeypatch):
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory.pin
    factory.reset()


class Bench:
    """A receiver on a clock that the test moves; `pass_s` lets it do what comes due."""

    def __init__(self, **settings):
        self.clock = ManualClock()
        fields = {"enabled": True, "bins": RECYCLING}
        self.receiver = GpioReceiver(GpioSettings(**{**fields, **settings}), self.clock)
        self.receiver.start(SESSION)

    def decide(self, bin_name="recycling", kind="accepted"):
        self.receiver.deliver(Event(NOW, "decision", decision=decision(kind=kind, bin=bin_name)))
        self.receiver.tick()

    def pass_s(self, seconds):
        until_s = self.clock.now_s() + seconds
        while (wait_s := self.receiver.tick()) is not None and self.clock.now_s() + wait_s <= until_s:
            self.clock.advance(wait_s)
        self.clock.advance(max(0.0, until_s - self.clock.now_s()))


@pytest.fixture
def bench(pins):
    benches = []

    def make(**settings):
        benches.append(Bench(**settings))
        return benches[-1]

    yield make
    for one in benches:
        one.receiver.close()


def pulse_us(pin) -> float:
    """The servo's pulse, 0 without pulses."""
    return round(pin.state * 20_000) if pin.frequency else 0


class TestServo:
    def test_rests_at_the_start_opens_closes_and_is_released(self, bench, pins):
        one = bench()
        servo, light = pins(17), pins(22)
        assert pulse_us(servo) == 1000
        one.pass_s(0.7)
        assert pulse_us(servo) == 0  # it has had the time to move
        one.decide()
        assert (pulse_us(servo), light.state) == (1500, 1)
        one.pass_s(2.9)
        assert (pulse_us(servo), light.state) == (1500, 1)
        one.pass_s(0.2)
        assert (pulse_us(servo), light.state) == (1000, 0)
        one.pass_s(0.7)
        assert pulse_us(servo) == 0

    def test_a_second_item_of_the_bin_keeps_it_open(self, bench, pins):
        one = bench()
        one.decide()
        one.pass_s(2.0)
        one.decide()
        one.pass_s(2.0)
        assert pulse_us(pins(17)) == 1500
        one.pass_s(1.1)
        assert pulse_us(pins(17)) == 1000

    def test_another_bin_closes_it_first(self, bench, pins):
        one = bench()
        one.decide()
        one.decide("general")
        assert (pulse_us(pins(17)), pins(22).state, pins(23).state) == (1000, 0, 1)

    def test_an_item_during_the_way_back_is_not_cut_off(self, bench, pins):
        one = bench()
        one.decide()
        one.pass_s(3.1)
        one.decide()
        one.pass_s(1.0)  # the release of the first way back would fall into this
        assert pulse_us(pins(17)) == 1500

    def test_at_the_end_it_goes_to_rest_and_gets_the_time(self, bench, pins):
        one = bench()
        one.decide()
        moves = []
        wait = one.clock.wait
        one.clock.wait = lambda stop, seconds: (moves.append((pulse_us(pins(17)), seconds)), wait(stop, seconds))[1]
        one.receiver.close()
        assert moves == [(1000, 0.6)]
        assert pulse_us(pins(17)) == 0
        assert (pins(22).state, pins(23).state) == (0, 0)
        one.receiver.close()

    def test_at_the_exit_of_the_interpreter_too(self, bench, pins, monkeypatch):
        registered = []
        monkeypatch.setattr("atexit.register", registered.append)
        one = bench()
        one.decide()
        one.decide("general")
        one.decide()
        (at_exit,) = registered
        at_exit()
        assert (pulse_us(pins(17)), pins(22).state, pins(23).state) == (1000, 0, 0)

    def test_a_bin_without_a_flap_is_said_once(self, bench, caplog):
        one = bench()
        one.decide("compost")
        one.decide("compost")
        assert caplog.text.count("no flap is configured for the bin compost") == 1

    def test_one_that_fails_does_not_keep_the_others_from_rest(self, bench, pins, monkeypatch):
        one = bench(bins={"a": {"servo": 17, "hold_s": 1}, "b": {"solenoid": 23, "hold_s": 1}}, settle_s=0.1)
        one.decide("b")
        one.receiver._after(0.0, "rest", "a", lambda: (_ for _ in ()).throw(OSError("bus error")))
        one.clock.advance(1.5)
        with pytest.raises(OSError, match="bus error"):
            one.receiver.tick()
        assert pins(23).state == 0
        one.receiver._after(0.0, "rest", "a", lambda: one.receiver._rest("a"))  # the bus is back
        one.receiver.tick()
        assert pulse_us(pins(17)) == 1000


class TestSolenoid:
    def test_is_on_for_its_time(self, bench, pins):
        one = bench()
        one.decide("general")
        assert pins(23).state == 1
        one.pass_s(1.1)
        assert pins(23).state == 0

    def test_is_switched_off_in_any_case(self):
        """By a timer of its own, in real time: nobody calls anything here after `open`."""

        class Coil:
            def __init__(self):
                self.switched = []

            def on(self):
                self.switched.append("on")

            def off(self):
                self.switched.append("off")

            def close(self):
                pass

        coil = Coil()
        flap = SolenoidFlap(coil, max_on_s=0.05)
        flap.open()
        wait_until(lambda: coil.switched == ["on", "off"], "the limit")
        flap.open()
        assert coil.switched == ["on", "off"]  # it was not at rest since
        flap.rest()
        flap.open()
        assert coil.switched[-1] == "on"
        flap.close()
        assert coil.switched[-1] == "off"


class TestUnsure:
    def test_the_light_blinks_and_the_buzzer_plays(self, bench, pins):
        one = bench(unsure={"led": 27, "blinks": 2, "blink_s": 0.2, "buzzer": 13, "tones": ("E5", "C5"), "tone_s": 0.2})
        seen = []
        one.decide("general", kind="uncertain")
        for _ in range(5):
            seen.append((pins(27).state, round(pins(13).frequency or 0) if pins(13).state else 0))
            one.pass_s(0.2)
            one.receiver.tick()
        assert seen == [(1, 659), (0, 523), (1, 0), (0, 0), (0, 0)]
        assert pins(23).state == 0  # opened, and closed again after its second

    @pytest.mark.parametrize("kind", ["too_dark", "too_bright"])
    def test_darkness_is_shown_too(self, bench, pins, kind):
        one = bench(unsure={"led": 27})
        one.decide("general", kind=kind)
        assert pins(27).state == 1

    def test_an_accepted_item_shows_nothing(self, bench, pins):
        one = bench(unsure={"led": 27})
        one.decide()
        assert pins(27).state == 0


def test_the_whole_sink_on_its_thread(pins):
    from device.clock import SystemClock

    settings = GpioSettings(enabled=True, bins={"recycling": {**SERVO, "hold_s": 0.05}}, settle_s=0.02)
    sink = open_gpio(settings, SystemClock())
    sink.start(SESSION)
    sink.event(Event(NOW, "decision", decision=decision()))
    wait_until(lambda: sink.counts.sent == 1, "the flap")
    wait_until(lambda: pulse_us(pins(17)) == 0 and pins(22).state == 0, "rest and release")
    sink.close()


CRASH = """
import atexit, json, gpiozero
from gpiozero.pins.mock import MockFactory, MockPWMPin
factory = gpiozero.Device.pin_factory = MockFactory(pin_class=MockPWMPin)
states = []
atexit.register(lambda: print(json.dumps([bool(state.state) for state in states[0]])))  # runs after the sink's own
from device.clock import SystemClock
from device.sinks.actuator_settings import GpioSettings
from device.sinks.gpio_sink import open_gpio
from tests.device.broker import wait_until
from tests.device.test_gpio import NOW, SESSION, Event, decision
settings = GpioSettings(enabled=True, bins={"recycling": {"solenoid": 23, "hold_s": 50, "max_on_s": 60}})
sink = open_gpio(settings, SystemClock())
sink.start(SESSION)
sink.event(Event(NOW, "decision", decision=decision()))
wait_until(lambda: sink.counts.sent == 1, "the flap")
states.append(factory.pin(23).states)
raise RuntimeError("a bug in the main loop")
"""


def test_a_crash_of_the_program_leaves_no_flap_open():
    done = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, check=False)
    assert "a bug in the main loop" in done.stderr
    assert json.loads(done.stdout)[-2:] == [True, False], done.stderr


def test_pins_that_cannot_be_had_are_tried_again(pins, monkeypatch, caplog):
    monkeypatch.setattr("device.sinks.thread_sink._AGAIN_FIRST_S", 0.01)
    from device.clock import SystemClock

    other = gpiozero.LED(17)
    sink = open_gpio(GpioSettings(enabled=True, bins={"recycling": SERVO}, settle_s=0.0), SystemClock())
    sink.start(SESSION)
    wait_until(lambda: sink.counts.failing, "the failure")
    other.close()
    sink.event(Event(NOW, "decision", decision=decision()))
    wait_until(lambda: sink.counts.sent == 1, "the flap")
    sink.close()
    assert caplog.text.count("is failing") == 1


def test_missing_libraries_are_named(monkeypatch):
    from device.clock import SystemClock

    for modules, settings, extra in (
        (["gpiozero"], {}, "gpio"),
        (["Jetson", "Jetson.GPIO"], {"board": "jetson"}, "jetson"),
        (["adafruit_pca9685"], {"bins": {"a": {"channel": 1}}}, "servo-board"),
    ):
        with monkeypatch.context() as patch:
            for module in modules:
                patch.setitem(sys.modules, module, None)
            with pytest.raises(ConfigError) as caught:
                open_gpio(GpioSettings(**settings), SystemClock())
        assert f"pip install 'smartbin[{extra}]'" in str(caught.value)


class JetsonLibrary(types.ModuleType):
    """Stands in for Jetson.GPIO: its names as its documentation gives them, and a record of the calls."""

    BOARD, OUT, HIGH, LOW = "BOARD", "OUT", 1, 0

    def __init__(self):
        super().__init__("Jetson.GPIO")
        self.calls = []
        outer = self

        class PWM:
            def __init__(self, pin, hertz):
                outer.calls.append(("PWM", pin, hertz))

            def start(self, duty):
                outer.calls.append(("start", duty))

            def ChangeDutyCycle(self, duty):  # noqa: N802
                outer.calls.append(("duty", duty))

            def stop(self):
                outer.calls.append(("stop",))

        self.PWM = PWM

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **named: self.calls.append((name, *arguments, *named.values()))


def test_a_jetson(monkeypatch):
    library = JetsonLibrary()
    package = types.ModuleType("Jetson")
    package.GPIO = library
    monkeypatch.setitem(sys.modules, "Jetson", package)
    monkeypatch.setitem(sys.modules, "Jetson.GPIO", library)
    bins = {"recycling": {"servo": 33, "hold_s": 1}, "general": {"solenoid": 16, "hold_s": 1}}
    one = Bench(board="jetson", bins=bins)
    assert library.calls[:2] == [("setmode", "BOARD"), ("setwarnings", False)]
    assert ("PWM", 33, 50) in library.calls
    assert ("start", 5.0) in library.calls  # 1000 of 20000 µs
    one.decide()
    assert library.calls[-1] == ("duty", 7.5)
    one.decide("general")
    assert library.calls[-2:] == [("duty", 5.0), ("output", 16, 1)]
    one.receiver.close()
    assert ("output", 16, 0) in library.calls
    assert [call for call in library.calls if call[0] in ("stop", "cleanup")] == [
        ("stop",),
        ("cleanup", 33),
        ("cleanup", 16),
    ]


class Chip:
    """An I²C bus with the registers of a PCA9685 on it."""

    def __init__(self):
        self.registers = bytearray(256)

    def try_lock(self):
        return True

    def unlock(self):
        pass

    def writeto(self, address, buffer, *, start=0, end=None, **_):
        data = bytes(buffer)[start:end]
        if not data:
            return  # is somebody there?
        self.registers[data[0] : data[0] + len(data) - 1] = data[1:]

    def writeto_then_readfrom(self, address, out, into, *, in_start=0, in_end=None, **_):
        count = len(into[in_start:in_end])
        into[in_start:in_end] = self.registers[out[0] : out[0] + count]

    def readfrom_into(self, address, buffer, *, start=0, end=None, **_):
        pass

    def ticks(self, channel):
        """On-time of a channel, of 4096; 0 when it is off."""
        low, high = self.registers[0x06 + 4 * channel + 2], self.registers[0x06 + 4 * channel + 3]
        return 0 if high & 0x10 else low | high << 8


def test_a_servo_on_a_pca9685():
    pytest.importorskip("adafruit_pca9685", reason="no adafruit_pca9685 here (pip install 'smartbin[servo-board]')")
    chip = Chip()
    board = ServoBoard(0x40, bus=chip)
    servo = board.servo(3, Travel(1000, 2000))
    for angle, pulse in ((0, 1000), (90, 1500), (180, 2000)):
        servo.move(angle)
        assert chip.ticks(3) / 4096 * 20_000 == pytest.approx(pulse, rel=0.02)
    servo.release()
    assert chip.ticks(3) == 0
    servo.close()
    board.close()
