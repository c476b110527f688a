"""The part of `smartbin doctor` that looks at sinks and presence sensor: whether what they need is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from device.config import DeviceConfig, SinkSettings
from device.machine import Machine
from device.presence_sensor import SensorSettings


def needed_libraries(settings: SinkSettings) -> Iterator[tuple[str, str, str]]:
    """Sink, Python module and the extra that installs it, for every sink that is switched on."""
    if settings.mqtt.enabled:
        yield "mqtt", "paho.mqtt", "mqtt"
    if settings.gpio.enabled:
        yield ("gpio", "Jetson.GPIO", "jetson") if settings.gpio.board == "jetson" else ("gpio", "gpiozero", "gpio")
        if any(flap.channel is not None for flap in settings.gpio.bins.values()):
            yield "gpio", "adafruit_pca9685", "servo-board"
            yield "gpio", "adafruit_motor", "servo-board"
    if settings.serial.enabled:
        yield "serial", "serial", "serial"


def unmatched_flaps(config: DeviceConfig, classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Bins that a decision may name and that have no flap of `[sinks.gpio.bins]`, and flaps that none ever opens."""
    if not config.sinks.gpio.enabled or not config.sinks.gpio.bins:
        return [], []
    named = {config.decision.bins.get(name, name) for name in classes} | {config.decision.undecided_bin}
    flaps = set(config.sinks.gpio.bins)
    return sorted(named - flaps), sorted(flaps - named)


def look_at_sensor(settings: SensorSettings | None, machine: Machine) -> Iterator[tuple[str, bool, str, str]]:
    """The same of a presence sensor."""
    if settings is not None:
        module, extra = ("Jetson.GPIO", "jetson") if settings.board == "jetson" else ("gpiozero", "gpio")
        yield _library("presence sensor", module, extra, machine)


def look_at_sinks(settings: SinkSettings, machine: Machine) -> Iterator[tuple[str, bool, str, str]]:
    """What to report: name, whether it is well, what was found, what to do."""
    for sink, module, extra in needed_libraries(settings):
        yield _library(f"sink {sink}", module, extra, machine)
    if settings.serial.enabled:
        port = settings.serial.port
        if "://" not in port and not machine.may_use(port):
            yield "sink serial", False, f"{port} is not there or not ours", "plug it in; sudo usermod -aG dialout $USER"


def _library(name: str, module: str, extra: str, machine: Machine) -> tuple[str, bool, str, str]:
    version = machine.version_of(module)
    found = f"{module} {version}" if version is not None else f"{module} is absent"
    fix = "" if version is not None else f"pip install 'smartbin[{extra}]'"
    return name, version is not None, found.removesuffix(" unknown"), fix
