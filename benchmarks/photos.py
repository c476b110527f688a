"""Which real photos a scenario runs on."""

from __future__ import annotations

from pathlib import Path

from smartbin.errors import ConfigError
from smartbin.images import list_images


def photos_below(folder: Path, limit: int | None) -> list[Path]:
    """At most `limit` photos below a folder, evenly from the sorted list, so that every class folder is there.

    `ConfigError` if there is none.
    """
    paths = list_images(folder)
    if not paths:
        raise ConfigError("no photos to classify", where=folder, expected="a folder with photos below it")
    count = len(paths) if limit is None else min(limit, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]
