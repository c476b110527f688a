"""The arguments of `smartbin events` and `smartbin dataset`."""

from __future__ import annotations

import argparse
from pathlib import Path

from device.config_argument import add_config
from smartbin.arguments import count

_EVENTS_EXAMPLES = """examples:
  smartbin events                                 the newest decisions
  smartbin events --since 2h --kind all           what happened in the last two hours (also 30m, 7d, 2026-05-01)
  smartbin events --json --id 3f…                 one event, by its number or the id that a broker was told
  smartbin events --per-day --since 30d           how many a day and class
  smartbin events --json --limit 1000 > events.jsonl
"""
_DATASET_EXAMPLES = """examples:
  smartbin dataset list                           what is kept, what waits for a label, how often the bin is right
  smartbin dataset label 17 glass                 the picture 17 is glass (none: not one of the classes; skip)
  smartbin dataset export --out mine
  python train/run.py --data garbage mine         train on the labelled pictures, too
"""


def add_events(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `smartbin events`."""
    events = commands.add_parser(
        "events",
        help="what the bin decided: the newest events it kept, or counts a day",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EVENTS_EXAMPLES,
    )
    events.add_argument("--id", metavar="ID", help="one event: its number, or the id that a broker or server was told")
    events.add_argument("--since", metavar="WHEN", help="only later ones: 30m, 2h, 7d ago, or a date or time")
    events.add_argument("--limit", type=count, default=50, metavar="N", help="at most so many (default 50)")
    events.add_argument("--before", type=count, metavar="ID", help="only ones before this number: the next page")
    events.add_argument("--kind", choices=("decision", "lifecycle", "all"), default="decision", help="which events")
    events.add_argument("--per-day", action="store_true", help="counts a day and class instead")
    events.add_argument("--json", action="store_true", help="one JSON object a line")
    add_config(events, "store")


def add_dataset(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `smartbin dataset`."""
    dataset = commands.add_parser(
        "dataset",
        help="pictures that the bin kept: list, label, export them to train on",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_DATASET_EXAMPLES,
    )
    actions = dataset.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what is kept and labelled, and how often the bin is right")
    listing.add_argument("--json", action="store_true", help="one JSON object")
    label = actions.add_parser("label", help="say what is on a picture")
    label.add_argument("sample", type=count, metavar="ID", help="the picture's number, from dataset list")
    label.add_argument("label", metavar="CLASS", help="a class of the model, none (not one of them), or skip")
    export = actions.add_parser("export", help="write labelled pictures as a folder of class folders")
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new or empty folder")
    export.add_argument(
        "--none-as", metavar="CLASS", help="class of the pictures labelled none (default: they are left out)"
    )
    for action in (listing, label, export):
        add_config(action, "store")
