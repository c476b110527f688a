"""Pins of a Raspberry Pi (gpiozero), of a Jetson (Jetson.GPIO), and servos on a PCA9685: three libraries, one seam."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

from device.sinks.actuator_settings import GpioSettings, Pin
from device.sinks.library import need_library

_FRAME_US = 20_000  # a servo wants a pulse every 20 ms
_FULL_ANGLE = 180.0
_BUZZER_OCTAVES = 4  # around A4: all tones that the configuration allows


@dataclass(frozen=True, slots=True)
class Travel:
    """A servo's pulses at 0 and at 180 degrees, microseconds."""

    min_pulse_us: int
    max_pulse_us: int

    def pulse_us(self, angle: float) -> float:
        """The pulse for an angle in degrees."""
        return self.min_pulse_us + (self.max_pulse_us - self.min_pulse_us) * angle / _FULL_ANGLE


class Switch(Protocol):
    """A pin that is on or off. Off at first."""

    def on(self) -> None:
        """Switch on."""
        ...

    def off(self) -> None:
        """Switch off."""
        ...

    def close(self) -> None:
        """Let go of the pin."""
        ...


class Servo(Protocol):
    """A servo, without pulses at first."""

    def move(self, angle: float) -> None:
        """Go to an angle in degrees and hold it; returns at once."""
        ...

    def release(self) -> None:
        """End the pulses: no humming, no current."""
        ...

    def close(self) -> None:
        """Let go of the pin."""
        ...


class Buzzer(Protocol):
    """Plays one tone at a time."""

    def play(self, tone: str) -> None:
        """Play a tone such as `A4` until something else is said; returns at once."""
        ...

    def off(self) -> None:
        """Be silent."""
        ...

    def close(self) -> None:
        """Let go of the pin."""
        ...


class Board(Protocol):
    """Hands out what is connected to its pins. Library errors pass through."""

    def switch(self, pin: Pin) -> Switch:
        """A pin as a switch."""
        ...

    def servo(self, pin: Pin, travel: Travel) -> Servo:
        """A pin as a servo's."""
        ...

    def buzzer(self, pin: Pin) -> Buzzer:
        """A pin as a buzzer's."""
        ...

    def close(self) -> None:
        """Let go of the board, after everything on it."""
        ...


class GpiozeroBoard:
    """gpiozero, through lgpio on a Raspberry Pi; `GPIOZERO_PIN_FACTORY` chooses another library."""

    def __init__(self) -> None:
        self._gpiozero = need_library("gpiozero", "gpio", "[sinks.gpio]")
        self._tones = need_library("gpiozero.tones", "gpio", "[sinks.gpio]")

    def switch(self, pin: Pin) -> Switch:
        """A digital output."""
        device: Switch = self._gpiozero.DigitalOutputDevice(pin, initial_value=False)
        return device

    def servo(self, pin: Pin, travel: Travel) -> Servo:
        """Software pulses; a PCA9685 is steadier."""
        return _GpiozeroServo(
            self._gpiozero.AngularServo(
                pin,
                initial_angle=None,
                min_angle=0,
                max_angle=_FULL_ANGLE,
                min_pulse_width=travel.min_pulse_us / 1e6,
                max_pulse_width=travel.max_pulse_us / 1e6,
                frame_width=_FRAME_US / 1e6,
            )
        )

    def buzzer(self, pin: Pin) -> Buzzer:
        """A piezo buzzer without electronics of its own."""
        return _GpiozeroBuzzer(self._gpiozero.TonalBuzzer(pin, octaves=_BUZZER_OCTAVES), self._tones.Tone)

    def close(self) -> None:
        """gpiozero has nothing to close beside its devices."""


class _GpiozeroServo:
    def __init__(self, device: Any) -> None:
        self._device = device

    def move(self, angle: float) -> None:
        self._device.angle = angle

    def release(self) -> None:
        self._device.detach()

    def close(self) -> None:
        self._device.close()


class _GpiozeroBuzzer:
    def __init__(self, device: Any, make_tone: Any) -> None:
        self._device, self._make_tone = device, make_tone

    def play(self, tone: str) -> None:
        self._device.play(self._make_tone(tone))

    def off(self) -> None:
        self._device.stop()

    def close(self) -> None:
        self._device.close()


class JetsonBoard:
    """Jetson.GPIO with the numbers of the 40-pin header; servos only on its PWM pins (32 and 33 on an Orin Nano)."""

    def __init__(self) -> None:
        self._gpio: Any = need_library("Jetson.GPIO", "jetson", "[sinks.gpio]")
        self._gpio.setmode(self._gpio.BOARD)
        self._gpio.setwarnings(False)

    def switch(self, pin: Pin) -> Switch:
        """A digital output."""
        self._gpio.setup(pin, self._gpio.OUT, initial=self._gpio.LOW)
        return _JetsonSwitch(self._gpio, pin)

    def servo(self, pin: Pin, travel: Travel) -> Servo:
        """Hardware pulses; `ValueError` by the library for a pin that has none."""
        self._gpio.setup(pin, self._gpio.OUT, initial=self._gpio.LOW)
        return _JetsonServo(self._gpio, pin, travel)

    def buzzer(self, pin: Pin) -> Buzzer:
        """Not there: the configuration has refused it."""
        raise NotImplementedError("a buzzer needs gpiozero")

    def close(self) -> None:
        """Every pin was let go by itself."""


class _JetsonSwitch:
    def __init__(self, gpio: Any, pin: Pin) -> None:
        self._gpio, self._pin = gpio, pin

    def on(self) -> None:
        self._gpio.output(self._pin, self._gpio.HIGH)

    def off(self) -> None:
        self._gpio.output(self._pin, self._gpio.LOW)

    def close(self) -> None:
        self._gpio.cleanup(self._pin)


class _JetsonServo:
    def __init__(self, gpio: Any, pin: Pin, travel: Travel) -> None:
        self._gpio, self._pin, self._travel = gpio, pin, travel
        self._pulses = gpio.PWM(pin, 1_000_000 // _FRAME_US)
        self._running = False

    def move(self, angle: float) -> None:
        duty = 100.0 * self._travel.pulse_us(angle) / _FRAME_US
        if self._running:
            self._pulses.ChangeDutyCycle(duty)
        else:
            self._pulses.start(duty)
        self._running = True

    def release(self) -> None:
        if self._running:
            self._pulses.stop()
        self._running = False

    def close(self) -> None:
        self.release()
        self._gpio.cleanup(self._pin)


class ServoBoard:
    """Sixteen servos on a PCA9685, which makes the pulses by itself, whatever this machine is busy with."""

    def __init__(self, address: int, bus: Any = None) -> None:
        pca9685 = need_library("adafruit_pca9685", "servo-board", "[sinks.gpio] channel")
        self._motor: Any = need_library("adafruit_motor.servo", "servo-board", "[sinks.gpio] channel")
        if bus is None:
            bus = need_library("board", "servo-board", "[sinks.gpio] channel").I2C()
        self._chip: Any = pca9685.PCA9685(bus, address=address)
        self._chip.frequency = 1_000_000 // _FRAME_US

    def servo(self, channel: int, travel: Travel) -> Servo:
        """The servo on a channel, 0 to 15."""
        return _ChannelServo(
            self._motor.Servo(
                self._chip.channels[channel],
                actuation_range=int(_FULL_ANGLE),
                min_pulse=travel.min_pulse_us,
                max_pulse=travel.max_pulse_us,
            )
        )

    def close(self) -> None:
        """End all pulses."""
        with contextlib.suppress(OSError):  # unplugged
            self._chip.deinit()


class _ChannelServo:
    def __init__(self, servo: Any) -> None:
        self._servo = servo

    def move(self, angle: float) -> None:
        self._servo.angle = angle

    def release(self) -> None:
        self._servo.angle = None

    def close(self) -> None:
        self.release()


def open_board(settings: GpioSettings) -> Board:
    """The board of the configuration."""
    return JetsonBoard() if settings.board == "jetson" else GpiozeroBoard()


def need_libraries(settings: GpioSettings) -> None:
    """`ConfigError` for a library that the configuration needs and that is not there; no pin is touched."""
    if settings.board == "jetson":
        need_library("Jetson.GPIO", "jetson", "[sinks.gpio]")
    else:
        need_library("gpiozero", "gpio", "[sinks.gpio]")
    if any(flap.channel is not None for flap in settings.bins.values()):
        need_library("adafruit_pca9685", "servo-board", "[sinks.gpio] channel")
        need_library("adafruit_motor.servo", "servo-board", "[sinks.gpio] channel")
