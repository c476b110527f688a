"""A presence sensor on a pin (light barrier, infrared, a switch under the lid) that says when something is there.

It takes the place of the picture's own presence, which goes on beside it: that says whether the item lies still, and it
is what remains where the sensor is stuck, silent or broken.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from device.presence import PresenceDetector, PresenceReading
from smartbin.errors import ConfigError
from smartbin.images import BgrImage

_log = logging.getLogger(__name__)
_SEEN_S = 1.0  # something that the picture shows for so long is no shadow


class SensorSettings(BaseModel):
    """[sensor]: the pin, and when the sensor is not believed any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pin: int | str = Field(
        description='as gpiozero names it: 17, "GPIO17", "BOARD11"; of a Jetson its number on the header'
    )
    board: Literal["gpiozero", "jetson"] = Field(
        default="gpiozero", description="gpiozero: a Raspberry Pi; jetson: through Jetson.GPIO, resistor on the cable"
    )
    pull: Literal["up", "down", "none"] = Field(
        default="up", description="resistor of the pin; with up the sensor says something is there by pulling it down"
    )
    inverted: bool = Field(default=False, description="the other way round")
    stuck_s: float = Field(
        default=60.0, gt=0, description="it says something is there for so long while the picture shows nothing: stuck"
    )
    missed_items: int = Field(
        default=5, ge=1, description="so many items in a row that the picture shows and it does not: silent"
    )

    @model_validator(mode="after")
    def _check_pin(self) -> SensorSettings:
        if self.board == "jetson" and not isinstance(self.pin, int):
            raise ValueError("a Jetson's pin is its number on the header")
        return self


class Sensor(Protocol):
    """Says whether something is there."""

    def present(self) -> bool:
        """Whether something is there, or has been since the last call. Does not block; may raise anything."""
        ...

    def close(self) -> None:
        """Let go of the pin."""
        ...


class Presence(Protocol):
    """Says of every frame whether something is in the bin."""

    def update(self, now_s: float, image: BgrImage) -> PresenceReading:
        """Look at one frame, taken at `now_s`."""
        ...

    def relearn(self) -> None:
        """Forget the empty scene."""
        ...


class GpioSensor:
    """A sensor on a pin, through gpiozero. Short pulses between two frames are not lost."""

    def __init__(self, settings: SensorSettings) -> None:
        """Take the pin; `ConfigError` if gpiozero or the pin is not to be had."""
        try:
            gpiozero = importlib.import_module("gpiozero")
        except ImportError as error:
            raise ConfigError(
                "a presence sensor needs gpiozero", where="sensor", fix="pip install 'smartbin[gpio]'"
            ) from error
        pull_up = {"up": True, "down": False, "none": None}[settings.pull]
        try:
            self._device = gpiozero.DigitalInputDevice(
                settings.pin, pull_up=pull_up, active_state=True if pull_up is None else None
            )
        except Exception as error:  # the pin libraries below raise what they like
            raise ConfigError(
                "the pin of the presence sensor cannot be used",
                where="sensor.pin",
                found=f"{settings.pin!r}: {error or type(error).__name__}",
                expected="a free pin of this board, and the right to use it (group gpio)",
            ) from error
        self._inverted = settings.inverted
        self._pulse = Event()
        if settings.inverted:
            self._device.when_deactivated = self._pulse.set
        else:
            self._device.when_activated = self._pulse.set

    def present(self) -> bool:
        """Read the pin."""
        pulsed = self._pulse.is_set()
        self._pulse.clear()
        return pulsed or bool(self._device.is_active) != self._inverted

    def close(self) -> None:
        """Free the pin."""
        self._device.close()


class SensedPresence:
    """Presence by a sensor, as long as it can be believed; each change of that is said once."""

    def __init__(self, sensor: Sensor, settings: SensorSettings, detector: PresenceDetector) -> None:
        self._sensor, self._settings, self._detector = sensor, settings, detector
        self._alone_since_s: float | None = None  # since then the sensor alone has said that something is there
        self._seen_since_s: float | None = None  # since then the picture alone has
        self._missed = 0
        self._doubt: str | None = None

    @property
    def doubt(self) -> str | None:
        """Why the sensor is not believed at the moment; None while it is."""
        return self._doubt

    def update(self, now_s: float, image: BgrImage) -> PresenceReading:
        """What the picture says, with the sensor's word for whether something is there."""
        reading = self._detector.update(now_s, image)
        try:
            sensed = self._sensor.present()
        except Exception as error:  # noqa: BLE001 - whatever the pin library raises, the bin goes on
            self._change(f"it cannot be read: {error}")
            return reading
        self._change(self._find_doubt(now_s, sensed, reading))
        return reading if self._doubt is not None else replace(reading, present=sensed)

    def relearn(self) -> None:
        """The picture's part is learned anew."""
        self._detector.relearn()

    def close(self) -> None:
        """Let go of the sensor."""
        self._sensor.close()

    def _find_doubt(self, now_s: float, sensed: bool, reading: PresenceReading) -> str | None:
        """Why the sensor cannot be believed: stuck, or silent while items come and go."""
        if sensed:
            self._missed, self._seen_since_s = 0, None
        elif reading.present and self._seen_since_s is None:
            self._seen_since_s = now_s
        elif not reading.present and self._seen_since_s is not None:
            self._missed += now_s - self._seen_since_s >= _SEEN_S
            self._seen_since_s = None
        if not sensed or reading.present:
            self._alone_since_s = None
        elif self._alone_since_s is None:
            self._alone_since_s = now_s
        if self._alone_since_s is not None and now_s - self._alone_since_s >= self._settings.stuck_s:
            return (
                f"it has said for {self._settings.stuck_s:g} s that something is there, and the picture shows nothing"
            )
        if self._missed >= self._settings.missed_items:
            return f"the picture showed {self._settings.missed_items} items that it did not see"
        return None

    def _change(self, doubt: str | None) -> None:
        before, self._doubt = self._doubt, doubt
        if doubt is not None and before is None:
            _log.warning("presence sensor: %s; the picture decides until that is over", doubt)
        elif doubt is None and before is not None:
            _log.warning("presence sensor: believed again")


def open_sensor(settings: SensorSettings) -> Sensor:
    """The sensor of the configuration; `ConfigError` if it is not to be had."""
    if settings.board == "gpiozero":
        return GpioSensor(settings)
    from device.jetson_sensor import JetsonSensor

    return JetsonSensor(settings)


def make_presence(
    detector: PresenceDetector,
    settings: SensorSettings | None,
    opener: Callable[[SensorSettings], Sensor] = open_sensor,
) -> PresenceDetector | SensedPresence:
    """The picture's presence, or the configured sensor's; `ConfigError` if that cannot be opened."""
    return detector if settings is None else SensedPresence(opener(settings), settings, detector)
