"""`train/run.py cache`: what the cache of photos, frozen fronts and groups holds; `cache clear` empties it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from train.cache.photo_cache import GROUPS_FOLDER, PhotoCache, clear, default_cache_folder
from train.console import say
from train.networks.front_cache import FrontCache


def cache_command(arguments: list[str]) -> int:
    """Run `cache [clear] [--cache-dir FOLDER]`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="train/run.py cache",
        description="List the decoded photos, frozen fronts and groups of photos that are kept, or remove them all.",
    )
    parser.add_argument("action", choices=("list", "clear"), nargs="?", default="list", help="default: list")
    parser.add_argument("--cache-dir", type=Path, help="the folder, if it is not the usual one")
    options = parser.parse_args(arguments)
    folder = options.cache_dir or default_cache_folder()
    if options.action == "clear":
        say(f"{folder}: {clear(folder) / 1e9:.2f} GB removed")
        return 0
    for cache in (PhotoCache(folder, 0), FrontCache(folder, 0)):
        stored = cache.stored()
        say(f"{cache.folder}: {len(stored)} maps of {cache.what}, {sum(item.bytes for item in stored) / 1e9:.2f} GB")
        for item in stored:
            say(f"  {item.path.name}  {item.bytes / 1e9:8.2f} GB  last used {_day(item.used_s)}")
    groupings = list((folder / GROUPS_FOLDER).glob("*.json"))
    say(f"{folder / GROUPS_FOLDER}: which photos show one object, for {len(groupings)} sets of photos")
    return 0


def _day(wall_clock_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(wall_clock_s))
