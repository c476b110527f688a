"""`smartbin flap`: moves flaps without a camera, to try the wiring and to find the angles; `rest` after a crash.

It takes the pins and ports of the configuration, which a running daemon holds: one of the two at a time.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time

from device.clock import SystemClock
from device.config import DeviceConfig, load_config
from device.decision import Decision, DecisionKind
from device.events import Event, Session
from device.sinks import SinkGroup
from device.sinks.opening import open_acting_sinks
from smartbin.brightness import Exposure
from smartbin.errors import ConfigError

_PATIENCE_S = 15.0  # an Arduino that restarts, and its answer
_SESSION = Session("smartbin flap", "none", "none", (), 0.0)


def flap(options: argparse.Namespace) -> int:
    """Do one thing and come back to rest; 0 if every configured sink could do it, else 1."""
    config = load_config(options.config, {})
    sinks = open_acting_sinks(config, SystemClock())
    if not sinks and options.action == "rest":
        return 0
    if not sinks:
        raise ConfigError(
            "nothing is configured that could move",
            where=options.config or "the defaults",
            expected="[sinks.gpio], [sinks.serial] or [sinks.sound] with enabled = true",
        )
    group = SinkGroup(sinks, reader_gone=lambda: None)
    group.start(_SESSION)
    try:
        if options.action != "rest":
            event = _event(config, getattr(options, "bin", None))
            group.event(event)
            _wait(group, _hold_s(config, event))
    finally:
        group.close()
    failed = False
    for name, counts in group.counts():
        trouble = counts.failures > 0
        failed |= trouble
        print(f"{name}: {counts.last_error if trouble else 'done'}", file=sys.stderr if trouble else sys.stdout)
    return 1 if failed else 0


def _event(config: DeviceConfig, bin_name: str | None) -> Event:
    """The decision for a bin; without one, that the bin is unsure."""
    now_s = time.monotonic()
    kind: DecisionKind = "accepted" if bin_name is not None else "uncertain"
    target = bin_name if bin_name is not None else config.decision.undecided_bin
    if config.sinks.gpio.enabled and bin_name is not None and bin_name not in config.sinks.gpio.bins:
        raise ConfigError(
            "no such flap", where="[sinks.gpio.bins]", found=bin_name, expected=", ".join(config.sinks.gpio.bins)
        )
    decision = Decision(kind, None, 1.0, target, 1, 1, now_s, now_s, Exposure(0.5, 0.0, 1.0))
    return Event(SystemClock().wall(), "decision", decision=decision)


def _wait(group: SinkGroup, hold_s: float) -> None:
    """Until every sink has done it or has failed, and as long as the flap is open."""
    never, until_s = threading.Event(), time.monotonic() + _PATIENCE_S
    while any(counts.waiting and not counts.failing for _, counts in group.counts()) and time.monotonic() < until_s:
        never.wait(0.02)
    if not all(counts.failing for _, counts in group.counts()):
        never.wait(hold_s)


def _hold_s(config: DeviceConfig, event: Event) -> float:
    """How long there is something to see or hear."""
    assert event.decision is not None
    gpio = config.sinks.gpio
    opened = gpio.bins.get(event.decision.bin)
    hold_s = opened.hold_s if gpio.enabled and opened is not None else 0.0
    if event.decision.kind == "accepted" or not gpio.enabled:
        return hold_s
    cue = gpio.unsure
    return max(hold_s, 2 * cue.blinks * cue.blink_s if cue.led is not None else 0.0)
