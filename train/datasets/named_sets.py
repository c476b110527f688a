"""The data sets that `--data` names, and the folders that they lie in.

In: what `--data` says and the data root. Out: a `Place` per set, nothing of it read but the names of its folders.
Called by `train/datasets/sources.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from smartbin.errors import DataError
from train.datasets.root import OLD_GARBAGE

NAMED_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "garbage": ("garbage",),
        "recycle": ("recycle",),
        "recycle-small": ("recycle-small",),
        "combined": ("garbage", "recycle"),
    }
)
"""What `--data` knows by name, and the sets that each stands for."""


@dataclass(frozen=True, slots=True)
class Place:
    """A set asked for, before anything of it is read; `asked` is empty for a folder."""

    asked: str
    root: Path


def places_of(item: str, data_root: Path) -> list[Place]:
    """Where the sets lie that one word of `--data` stands for; `DataError` for what is absent."""
    if item not in NAMED_SETS:
        root = Path(item)
        if not root.is_dir():
            raise DataError(
                "no data set here",
                where=root.resolve(),
                expected=f"a folder with one folder of photos per class, or one of {', '.join(NAMED_SETS)}",
                fix="check the name or the path",
            )
        return [Place("", root.resolve())]
    places = []
    for name in NAMED_SETS[item]:
        stored = stored_name(name)
        root_found = find_named(stored, data_root)
        if root_found is None:
            raise DataError(
                f"no data set here: {stored} is absent",
                where=data_root.resolve(),
                expected=f"the folder {stored} with one folder of photos per class",
                fix=f"smartbin-train data fetch {stored}, or point --data-root (or SMARTBIN_DATA) at the folder that "
                "holds it",
            )
        places.append(Place(name, root_found.resolve()))
    return places


def find_named(name: str, data_root: Path) -> Path | None:
    """Folder of the set `garbage` or `recycle`: below the data root, the root itself, or beside it."""
    classes = GARBAGE_CLASSES if name == "garbage" else tuple(RECYCLE_TO_GARBAGE)
    below = [data_root / name, *([data_root / OLD_GARBAGE] if name == "garbage" else [])]
    for folder in below:
        if folder.is_dir():
            return folder
    if not data_root.is_dir():
        return None
    own = class_folders(data_root)
    if set(own) & set(classes):
        return data_root
    beside = data_root.resolve().parent / name  # the root is another set's own folder, as of old
    return beside if set(own) & {*GARBAGE_CLASSES, *RECYCLE_TO_GARBAGE} and beside.is_dir() else None


def class_folders(root: Path) -> list[str]:
    """Names of the class folders, sorted; hidden ones are left out."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def stored_name(name: str) -> str:
    """The set on disk that a set asked for by `name` is taken from."""
    return "recycle" if name == "recycle-small" else name


def check_apart(places: Sequence[Place]) -> None:
    """`DataError` for a set that is given twice, or lies within another."""
    for index, place in enumerate(places):
        for other in places[:index]:
            if place.root.is_relative_to(other.root) or other.root.is_relative_to(place.root):
                raise DataError(
                    "the same photos would be there twice",
                    where=place.root,
                    found=f"{other.asked or other.root} and {place.asked or place.root}",
                    expected="data sets in folders apart from each other",
                    fix="name each set once in --data",
                )
