"""Section `[sinks.gpio]` of the configuration: which pin moves which flap, and how far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from device.sinks.settings import SinkSection

Pin: TypeAlias = Annotated[int, Field(ge=0, le=200)] | Annotated[str, Field(min_length=1)]
Tone: TypeAlias = Annotated[str, Field(pattern=r"^[A-G][#b]?[0-8]$")]


class FlapSettings(BaseModel):
    """`[sinks.gpio.bins.NAME]`: what opens the flap of one bin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    servo: Pin | None = Field(default=None, description="pin of a servo")
    channel: int | None = Field(default=None, ge=0, le=15, description="or its channel on the PCA9685 board")
    solenoid: Pin | None = Field(default=None, description="or the pin of a solenoid or relay, on while open")
    led: Pin | None = Field(default=None, description="pin of a light that is on while open")
    open_angle: float = Field(default=90.0, ge=0, le=180, description="degrees")
    rest_angle: float = Field(default=0.0, ge=0, le=180, description="degrees")
    min_pulse_us: int = Field(default=1000, ge=400, le=2600, description="the servo's pulse at 0 degrees")
    max_pulse_us: int = Field(default=2000, ge=400, le=2600, description="… and at 180")
    hold_s: float = Field(default=3.0, gt=0, le=60, description="how long it stays open")
    max_on_s: float = Field(default=5.0, gt=0, le=60, description="a solenoid is switched off after this in any case")

    @model_validator(mode="after")
    def _check(self) -> FlapSettings:
        if sum(way is not None for way in (self.servo, self.channel, self.solenoid)) != 1:
            raise ValueError("one of servo, channel and solenoid is needed, and only one")
        if self.min_pulse_us >= self.max_pulse_us:
            raise ValueError("min_pulse_us must be below max_pulse_us")
        if self.solenoid is not None and self.hold_s > self.max_on_s:
            raise ValueError("a solenoid's hold_s must not be above max_on_s")
        return self


class CueSettings(BaseModel):
    """`[sinks.gpio.unsure]`: how a person sees and hears that the bin does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    led: Pin | None = Field(default=None, description="pin of a light that blinks")
    blinks: int = Field(default=6, ge=1, le=100, description="how often it blinks")
    blink_s: float = Field(default=0.2, ge=0.02, le=5, description="on for so long, and off for so long")
    buzzer: Pin | None = Field(default=None, description="pin of a piezo buzzer (gpiozero only)")
    tones: tuple[Tone, ...] = Field(default=("E5", "C5"), description="what it plays")
    tone_s: float = Field(default=0.2, ge=0.02, le=5, description="each for so long")


class GpioSettings(SinkSection):
    """Section `[sinks.gpio]`: flaps, lights and a buzzer on this machine's own pins."""

    board: Literal["gpiozero", "jetson"] = Field(
        default="gpiozero", description="gpiozero: a Raspberry Pi, pins as GPIOn; jetson: pins as on the header"
    )
    pca9685_address: int = Field(default=0x40, ge=0x03, le=0x77, description="of the servo board on the I²C bus")
    settle_s: float = Field(default=0.6, ge=0, le=10, description="time of a servo to move; then its pulses end")
    max_age_s: float = Field(default=3.0, gt=0, description="a decision that is older opens nothing any more")
    bins: dict[str, FlapSettings] = Field(default_factory=dict, description="the flap of each bin")
    unsure: CueSettings = CueSettings()

    @model_validator(mode="after")
    def _check(self) -> GpioSettings:
        seen: dict[str, str] = {}
        for where, pin in self._pins():
            if pin in seen:
                raise ValueError(f"{where} and {seen[pin]} are the same pin: {pin}")
            seen[pin] = where
        if self.board == "jetson" and self.unsure.buzzer is not None:
            raise ValueError("unsure.buzzer needs board gpiozero; [sinks.sound] can play a sound instead")
        if self.enabled and not seen:
            raise ValueError("bins is missing: nothing is connected")
        return self

    def _pins(self) -> Iterator[tuple[str, str]]:
        for name, flap in self.bins.items():
            for key in ("servo", "channel", "solenoid", "led"):
                if (pin := getattr(flap, key)) is not None:
                    yield f"bins.{name}.{key}", f"channel {pin}" if key == "channel" else str(pin)
        for key in ("led", "buzzer"):
            if (pin := getattr(self.unsure, key)) is not None:
                yield f"unsure.{key}", str(pin)
