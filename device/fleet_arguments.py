"""The command line of `smartbin fleet`; only what the parser needs is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from smartbin.arguments import above_zero, count

_FLEET_EXAMPLES = """examples:
  smartbin fleet list --broker mqtt.lan           every bin: here or not, versions, health, counts
  smartbin fleet list --check 'hall-*'            exit code 1 if one of them is offline or unwell
  smartbin fleet watch --config fleet.toml        the same, as it changes; [sinks.mqtt] says where
  smartbin bundle pack bundles/mine --out www/mine.tar
  smartbin fleet install --url https://models.lan/mine.tar --archive www/mine.tar --at-a-time 5 '*'
  smartbin fleet rollback kitchen

The broker's password: SMARTBIN_SINKS__MQTT__PASSWORD in the environment, or --password-file.
exit codes: 0 all is well   1 a bin is missing, failed or did not answer; the broker cannot be reached   2 as for run
"""


def add_fleet(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `fleet` and its actions to the commands."""
    fleet = commands.add_parser(
        "fleet",
        help="many bins through their MQTT broker: list, watch, install bundles, roll back",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_FLEET_EXAMPLES,
    )
    actions = fleet.add_subparsers(dest="action", metavar="ACTION", required=True)
    told = {
        "list": "every bin: availability, versions, health, counts, last decision",
        "watch": "the same, as it changes",
        "ping": "ask bins whether they are there and take commands",
        "install": "have bins fetch, test and install a signed bundle; the first failure ends it",
        "rollback": "have bins go back to the bundle before; the first failure ends it",
        "forget": "delete what the broker keeps of bins that are gone for good",
    }
    parsers = {name: actions.add_parser(name, help=text) for name, text in told.items()}
    for name, parser in parsers.items():
        looks = name in ("list", "watch")
        parser.add_argument(
            "bins", nargs="*" if looks else "+", metavar="BIN", help="names or patterns such as 'hall-*'"
        )
        parser.add_argument("--broker", metavar="HOST[:PORT]", help="the broker (default: that of [sinks.mqtt])")
        parser.add_argument("--user", metavar="NAME", help="who to be there")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
        parser.add_argument("--tls", action="store_true", default=None, help="encrypt")
        parser.add_argument("--ca-file", type=Path, metavar="FILE", help="who has signed the broker's certificate")
        parser.add_argument("--prefix", metavar="TOPIC", help="topics are PREFIX/NAME/… (default smartbin)")
        parser.add_argument("--wait", type=above_zero, default=3.0, metavar="S", help="for what the broker keeps")
        parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with [sinks.mqtt]")
        if name != "forget":
            parser.add_argument("--json", action="store_true", help="one JSON object a bin and line")
    parsers["list"].add_argument("--check", action="store_true", help="exit code 1 if a bin is offline or unwell")
    parsers["watch"].add_argument("--seconds", type=above_zero, metavar="S", help="end after so long")
    _add_orders(parsers)


def _add_orders(parsers: dict[str, argparse.ArgumentParser]) -> None:
    for name, at_a_time in (("ping", 1000), ("install", 1), ("rollback", 1)):
        parsers[name].add_argument(
            "--at-a-time",
            type=count,
            default=at_a_time,
            metavar="N",
            help=f"so many bins at once (default {at_a_time})",
        )
        parsers[name].add_argument(
            "--answer-within", type=above_zero, default=15.0, metavar="S", help="for a bin's first answer (default 15)"
        )
        parsers[name].add_argument(
            "--timeout", type=above_zero, default=900.0, metavar="S", help="for all that a bin does (default 900)"
        )
        parsers[name].add_argument(
            "--active-within",
            type=above_zero,
            default=180.0,
            metavar="S",
            help="for a bin to run what it has installed (default 180)",
        )
    parsers["install"].add_argument("--url", required=True, help="where bins fetch the archive: http:// or https://")
    hashes = parsers["install"].add_mutually_exclusive_group(required=True)
    hashes.add_argument("--sha256", metavar="HEX", help="the archive's, as `smartbin bundle pack` printed it")
    hashes.add_argument("--archive", type=Path, metavar="FILE.tar", help="or the archive itself, to take it from")
