"""`--config` of the commands that read one section of the daemon's file."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_config(parser: argparse.ArgumentParser, section: str) -> None:
    """Add `--config FILE`, of which the command reads `section`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"the daemon's TOML file, section [{section}]")
