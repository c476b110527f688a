"""Opens the sinks of the configuration: the one place that knows every kind."""

from __future__ import annotations

from rich.console import Console

from device.clock import Clock, SystemClock
from device.config import DeviceConfig
from device.live_view import LiveSink
from device.sinks.gpio_sink import open_gpio
from device.sinks.group import Sink
from device.sinks.json_lines import JsonLines
from device.sinks.line_sink import open_lines
from device.sinks.mqtt_sink import MqttSink
from device.sinks.plain import TERMINAL, PlainLines
from device.sinks.serial_sink import open_serial
from device.sinks.sound_sink import open_sound
from device.sinks.webhook_sink import open_webhook


def open_sinks(config: DeviceConfig, console: Console, clock: Clock | None = None, *, live: bool = True) -> list[Sink]:
    """Flaps first: they are told first. `ConfigError` for what is missing; nothing is connected to before the start.

    `live`: whether the source is; the lines of a recording wait for their reader.
    """
    clock = clock if clock is not None else SystemClock()
    showing = _showing(config, console, clock, waits=not live)
    return [*open_acting_sinks(config, clock), *_telling(config, clock), *showing]


def open_acting_sinks(config: DeviceConfig, clock: Clock) -> list[Sink]:
    """Those that move something or make themselves heard."""
    sinks: list[Sink] = []
    if config.sinks.gpio.enabled:
        sinks.append(open_gpio(config.sinks.gpio, clock))
    if config.sinks.serial.enabled:
        sinks.append(open_serial(config.sinks.serial, clock))
    if config.sinks.sound.enabled:
        sinks.append(open_sound(config.sinks.sound, clock))
    return sinks


def _telling(config: DeviceConfig, clock: Clock) -> list[Sink]:
    name = config.device.resolve_name()
    sinks: list[Sink] = []
    if config.sinks.mqtt.enabled:
        sinks.append(MqttSink(config.sinks.mqtt, name, clock))
    if config.sinks.webhook.enabled:
        sinks.append(open_webhook(config.sinks.webhook, name, clock))
    return sinks


def _showing(config: DeviceConfig, console: Console, clock: Clock, *, waits: bool) -> list[Sink]:
    """JSON on stdout has stdout for itself."""
    sinks: list[Sink] = []
    target, view = config.sinks.json_lines, config.sinks.terminal
    if target:
        sinks.append(open_lines("json_lines", JsonLines(), clock, target=target, waits=waits))
    if target == "-" or view == "off":
        return sinks
    if view == "live" or (view == "auto" and console.is_terminal):
        sinks.append(LiveSink(console))
    else:
        sinks.append(open_lines(TERMINAL, PlainLines(), clock, waits=waits))
    return sinks
