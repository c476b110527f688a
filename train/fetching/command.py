"""The command lines of `data fetch` and `data list`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smartbin.arguments import above_zero, count
from train.datasets.root import DATA_VARIABLE, default_data_root
from train.fetching.download import Patience
from train.fetching.registry import data_sets


@dataclass(frozen=True, slots=True)
class FetchCommand:
    """Which data set to fetch, from where, to where."""

    name: str
    root: Path
    file: Path | None = None
    url: str = ""
    source: str = ""
    sha256: str | None = None
    force: bool = False
    patience: Patience = field(default_factory=Patience)


def parse_fetch(arguments: Sequence[str]) -> FetchCommand:
    """Parse what follows `data fetch`; exits with code 2 on a wrong flag, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="train/run.py data fetch",
        description="Download a data set, verify it, and lay it out as class folders.",
        epilog="A download that was interrupted is continued by the same command.",
    )
    parser.add_argument("name", choices=list(data_sets()), metavar="NAME", help=", ".join(data_sets()))
    _add_root(parser, "the data set becomes FOLDER/NAME")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--file", type=Path, metavar="ARCHIVE|FOLDER", help="what you have downloaded by hand; no network is used"
    )
    origin.add_argument("--url", default="", help="archive on another server")
    origin.add_argument("--source", default="", help="one of the known sources only: see `data list`")
    parser.add_argument("--sha256", type=str.lower, metavar="HASH", help="the archive must have this SHA-256")
    parser.add_argument("--force", action="store_true", help="fetch again and replace what is there, once it is whole")
    patience = Patience()
    parser.add_argument(
        "--timeout",
        type=above_zero,
        default=patience.read_s,
        metavar="S",
        help="give a silent server that long, seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--attempts", type=count, default=patience.attempts, metavar="N", help="try that often (default: %(default)s)"
    )
    known = vars(parser.parse_args(arguments))
    name, sha256 = known["name"], known["sha256"]
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        parser.error(f"--sha256 {sha256}: must be 64 hexadecimal digits")
    if known["url"] and not re.match("https?://.", known["url"]):
        parser.error(f"--url {known['url']}: must begin with https:// or http://")
    spec = data_sets()[name]
    if len(spec.made_of) > 1 and any(known[flag] for flag in ("file", "url", "source", "sha256")):
        parser.error(f"{name} is made of {' and '.join(spec.made_of)}: fetch these one by one")
    own = data_sets()[spec.made_of[0]] if spec.made_of else spec
    names = [source.name for source in own.sources]
    if known["source"] and known["source"] not in names:
        parser.error(f"--source {known['source']}: must be one of {', '.join(names)}")
    seconds = float(known["timeout"])
    return FetchCommand(
        name=name,
        root=known["to"],
        file=known["file"],
        url=known["url"],
        source=known["source"],
        sha256=sha256,
        force=known["force"],
        patience=Patience(connect_s=min(patience.connect_s, seconds), read_s=seconds, attempts=known["attempts"]),
    )


def parse_list(arguments: Sequence[str]) -> Path:
    """Parse what follows `data list`; returns the data root."""
    parser = argparse.ArgumentParser(prog="train/run.py data list", description="The data sets, and which are here.")
    _add_root(parser, "where to look", "--data-root")
    root: Path = parser.parse_args(arguments).to
    return root


def _add_root(parser: argparse.ArgumentParser, use: str, *other_names: str) -> None:
    parser.add_argument(
        "--to",
        *other_names,
        type=Path,
        default=default_data_root(),
        metavar="FOLDER",
        help=f"{use} (default: the environment's {DATA_VARIABLE}, else %(default)s)",
    )
