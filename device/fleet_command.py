"""`smartbin fleet list | watch | ping | install | rollback | forget`: many bins through their broker."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import MappingProxyType

from pydantic import ValidationError
from rich.console import Console
from rich.live import Live

from device.config import DeviceConfig, load_config
from device.fleet.link import FleetLink
from device.fleet.messages import Command, CommandName, new_command
from device.fleet.rollout import Rollout, RolloutRules
from device.fleet.roster import Roster
from device.fleet.table import bin_record, fleet_table, outcome_record, outcome_table
from device.sinks.home_assistant import discovery_topic
from device.sinks.library import need_library
from device.sinks.mqtt_sink import make_broker
from device.sinks.topics import Topics
from smartbin.bundle import sha256_file
from smartbin.errors import ConfigError

_QUIET_S = 0.5  # the broker has sent all that it keeps when no more of it has come for so long
_GOODBYE_S = 5.0
_EXPIRES = timedelta(minutes=2)  # for a command on its way; what it does may take longer


def fleet(options: argparse.Namespace) -> int:
    """The exit code: 0 all is well, 1 a bin is missing, has failed or does not answer."""
    config = load_config(options.config, _overrides(options))
    need_library("paho.mqtt.client", "mqtt", "smartbin fleet")
    make = _command_maker(options)
    broker = make_broker(config.sinks.mqtt, f"fleet-{secrets.token_hex(4)}")
    roster = Roster(config.sinks.mqtt.topic_prefix, options.bins)
    with FleetLink(broker, config.sinks.mqtt.topic_prefix) as link:
        gather(link, roster, options.wait)
        if options.action == "list":
            return _list(options, roster)
        if options.action == "watch":
            return _watch(options, link, roster)
        if options.action == "forget":
            return _forget(link, roster, config)
        assert make is not None
        return _roll_out(options, link, roster, config, make)


def gather(link: FleetLink, roster: Roster, wait_s: float) -> None:
    """Read what the broker keeps: until no more of it comes and every bin is complete, at most so long."""
    until_s = time.monotonic() + wait_s
    quiet_s = time.monotonic() + _QUIET_S
    while (now_s := time.monotonic()) < until_s:
        for message in link.receive(min(quiet_s if quiet_s > now_s else now_s + _QUIET_S, until_s) - now_s):
            roster.take(message.topic, message.payload)
            if message.retained:
                quiet_s = time.monotonic() + _QUIET_S
        whole = roster.bins and not roster.missing and all(known.complete for known in roster.bins)
        if whole and time.monotonic() >= quiet_s:
            return


def _list(options: argparse.Namespace, roster: Roster) -> int:
    now = datetime.now(timezone.utc)
    if options.json:
        for known in roster.bins:
            print(json.dumps(bin_record(known, now), ensure_ascii=False))
    elif roster.bins:
        _console().print(fleet_table(roster.bins, now))
    else:
        print("no bins here", file=sys.stderr)
    for name in roster.missing:
        print(f"{name}: the broker knows no bin of this name", file=sys.stderr)
    unwell = options.check and not all(known.well for known in roster.bins)
    return 1 if unwell or roster.missing or not roster.bins else 0


def _watch(options: argparse.Namespace, link: FleetLink, roster: Roster) -> int:
    until_s = time.monotonic() + options.seconds if options.seconds is not None else float("inf")
    if options.json:
        while time.monotonic() < until_s:
            for message in link.receive(min(1.0, until_s - time.monotonic())):
                name = roster.name_of(message.topic, "availability") or roster.name_of(message.topic, "state")
                if roster.take(message.topic, message.payload) and name and (known := roster.get(name)):
                    print(json.dumps(bin_record(known, datetime.now(timezone.utc)), ensure_ascii=False), flush=True)
        return 0
    with Live(console=_console(), auto_refresh=False) as live:
        while time.monotonic() < until_s:
            for message in link.receive(min(1.0, until_s - time.monotonic())):
                roster.take(message.topic, message.payload)
            table = fleet_table(roster.bins, datetime.now(timezone.utc))
            table.caption = link.trouble or None
            live.update(table, refresh=True)
    return 0


def _forget(link: FleetLink, roster: Roster, config: DeviceConfig) -> int:
    """Delete what the broker keeps of bins that are gone for good; one that is connected is left alone."""
    mqtt, here = config.sinks.mqtt, [known.name for known in roster.bins if known.online]
    for known in roster.bins:
        if known.online:
            continue
        topics = Topics(mqtt.topic_prefix, known.name)
        for topic in (topics.state, topics.availability, discovery_topic(mqtt.discovery_prefix, known.name)):
            link.send(topic, topic, b"", retain=True)
        print(f"{known.name} is forgotten")
    for name in here:
        print(f"{name} is connected and is not forgotten", file=sys.stderr)
    until_s = time.monotonic() + _GOODBYE_S
    while not link.settled and time.monotonic() < until_s:
        link.receive(_QUIET_S)
    for topic, refusal in link.refused.items():
        print(f"{topic} is still kept: {refusal}", file=sys.stderr)
    return 1 if here or link.refused or not link.settled or roster.missing or not roster.bins else 0


def _roll_out(
    options: argparse.Namespace, link: FleetLink, roster: Roster, config: DeviceConfig, make: Callable[[], Command]
) -> int:
    names = [*(known.name for known in roster.bins), *roster.missing]
    if not names:
        print("no bins here", file=sys.stderr)
        return 1
    rules = RolloutRules(
        at_a_time=options.at_a_time,
        answer_s=options.answer_within,
        active_s=options.active_within,
        whole_s=options.timeout,
        stop_at_failure=options.action != "ping",
    )

    def tell(name: str, said: str) -> None:
        print(f"{name}: {said}", file=sys.stderr, flush=True)

    outcomes = Rollout(link, roster, config.sinks.mqtt.topic_prefix, make, rules, tell).run(names)
    if options.json:
        for outcome in outcomes:
            print(json.dumps(outcome_record(outcome), ensure_ascii=False))
    else:
        _console().print(outcome_table(outcomes))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def _command_maker(options: argparse.Namespace) -> Callable[[], Command] | None:
    """What makes the command for each bin, checked once before the broker is asked; None for what only looks."""
    if options.action not in ("ping", "install", "rollback"):
        return None
    name: CommandName = options.action
    fields: MappingProxyType[str, str] = MappingProxyType({})
    if name == "install":
        fields = MappingProxyType({"url": options.url, "sha256": _announced(options)})

    def make() -> Command:
        return new_command(name, datetime.now(timezone.utc) + _EXPIRES, fields)

    try:
        make()
    except ValidationError as error:
        said = error.errors()[0]
        where = "--" + "".join(str(part) for part in said["loc"]) if said["loc"] else "the command line"
        raise ConfigError("no bin would take this", where=where, found=said["msg"]) from error
    return make


def _announced(options: argparse.Namespace) -> str:
    if options.archive is None:
        return str(options.sha256)
    try:
        return sha256_file(options.archive)
    except OSError as error:
        raise ConfigError("cannot read the archive", where=options.archive, found=error) from error


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    """The command line as dotted configuration keys; None means: not given."""
    host, port = None, None
    if options.broker is not None:
        host, _, number = options.broker.rpartition(":") if options.broker.count(":") == 1 else (options.broker, "", "")
        port = number or None
    return {
        "sinks.mqtt.host": host,
        "sinks.mqtt.port": port,
        "sinks.mqtt.user": options.user,
        "sinks.mqtt.password_file": options.password_file,
        "sinks.mqtt.tls": options.tls,
        "sinks.mqtt.ca_file": options.ca_file,
        "sinks.mqtt.topic_prefix": options.prefix,
    }


def _console() -> Console:
    """Wide enough for every column in a file or a pipe, too."""
    console = Console()
    return console if console.is_terminal else Console(width=160)
