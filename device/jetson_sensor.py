"""A presence sensor on a pin of a Jetson's 40-pin header, through Jetson.GPIO, which knows no resistors."""

from __future__ import annotations

import contextlib
from threading import Event
from typing import Any

from device.presence_sensor import SensorSettings
from device.sinks.library import need_library
from smartbin.errors import ConfigError


class JetsonSensor:
    """As `GpioSensor`; `pull` says only which level means that something is there."""

    def __init__(self, settings: SensorSettings) -> None:
        """Take the pin; `ConfigError` if the library or the pin is not to be had."""
        self._gpio: Any = need_library("Jetson.GPIO", "jetson", "[sensor]")
        self._pin, self._pulse = settings.pin, Event()
        low_means_there = (settings.pull == "up") != settings.inverted
        self._there = self._gpio.LOW if low_means_there else self._gpio.HIGH
        edge = self._gpio.FALLING if low_means_there else self._gpio.RISING
        try:
            self._gpio.setmode(self._gpio.BOARD)
            self._gpio.setup(self._pin, self._gpio.IN)
            self._gpio.add_event_detect(self._pin, edge, callback=lambda _: self._pulse.set())
        except Exception as error:  # the library raises what it likes
            raise ConfigError(
                "the pin of the presence sensor cannot be used",
                where="sensor.pin",
                found=f"{settings.pin!r}: {error or type(error).__name__}",
                expected="a free pin, by its number on the header, and the right to use it (group gpio)",
            ) from error

    def present(self) -> bool:
        """Read the pin."""
        pulsed = self._pulse.is_set()
        self._pulse.clear()
        return pulsed or self._gpio.input(self._pin) == self._there

    def close(self) -> None:
        """Free the pin."""
        with contextlib.suppress(Exception):
            self._gpio.remove_event_detect(self._pin)
        self._gpio.cleanup(self._pin)
