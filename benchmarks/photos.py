"""Which real photos a scenario runs on, and how many of them an answer is right on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smartbin.errors import ConfigError
from smartbin.images import list_images

DEFAULT_PHOTOS = 200


def photos_below(folder: Path, limit: int | None, names: Path | None = None) -> list[Path]:
    """At most `limit` photos below a folder, evenly from the sorted list, so that every class folder is there.

    `names` is a file with the names of photos, one a line: no others are taken, for example the validation part of a
    published split. `ConfigError` if there is none.
    """
    paths = list_images(folder)
    if names is not None:
        wanted = _read_names(names)
        paths = [path for path in paths if path.name in wanted]
    if not paths:
        raise ConfigError(
            "no photos to classify",
            where=folder,
            found=f"none that {names} names" if names is not None else None,
            expected="a folder with photos below it",
        )
    count = len(paths) if limit is None else min(limit, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def accuracy(answers: Sequence[str], paths: Sequence[Path], classes: Sequence[str]) -> float | None:
    """Part of the photos whose own folder is the answer, of those in a folder named after a class; None if none is."""
    right = [
        answer == path.parent.name for answer, path in zip(answers, paths, strict=True) if path.parent.name in classes
    ]
    return sum(right) / len(right) if right else None


def agreement(answers: Sequence[str], reference: Sequence[str]) -> float:
    """Part of the photos with the same answer."""
    return sum(one == other for one, other in zip(answers, reference, strict=True)) / len(reference)


def _read_names(file: Path) -> frozenset[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "cannot read the list of photos", where=file, found=error, fix="one file name a line"
        ) from error
    return frozenset(Path(line.strip()).name for line in lines if line.strip())
