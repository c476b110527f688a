"""Where photos come from: named data sets and folders of class folders, and which class each of their folders is.

In: what `--data` says and the data root. Out: a `Found` per set, its photos listed and labelled, none opened. Called by
`train/datasets/photos.py` for training and by `train/evaluate.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto, list_images
from train.datasets.folder_classes import chosen_classes, folder_classes, names_in
from train.datasets.named_sets import NAMED_SETS, Place, check_apart, places_of, stored_name
from train.fetching.registry import data_sets

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Kind: TypeAlias = Literal["garbage", "recycle", "folder"]

GARBAGE_PHOTOS = 2527
"""Photos of the whole garbage data set; recycle-small has as many."""

_PUBLISHED = Path(__file__).parent / "published"
_RECYCLE_NAME = re.compile(r"(train|test)-\d+\.\w+")


@dataclass(frozen=True, slots=True)
class Source:
    """A data set on disk: its name, where it is, and the class of each of its folders."""

    name: str
    root: Path
    labels: Mapping[str, str]

    def holds(self, path: Path) -> bool:
        """Whether a photo is one of this source's."""
        return path.is_relative_to(self.root)


@dataclass(frozen=True, slots=True)
class Found:
    """A source with its photos, by class and in natural order. `kind` says whose names the files have."""

    source: Source
    photos: tuple[LabelledPhoto, ...]
    kind: Kind
    asked: str
    """The name that it was asked for by; empty for a folder."""
    notes: tuple[str, ...] = ()

    def key(self, photo: LabelledPhoto) -> str:
        """`folder/file` of a photo: what stays the same when the set moves."""
        return photo.path.relative_to(self.source.root).as_posix()


def open_sources(data: Sequence[str], data_root: Path, classes: str = "auto") -> tuple[list[Found], tuple[str, ...]]:
    """Find the sets that `data` names and list their photos; returns them and the classes in their order.

    The folders of the recycle data set become classes of the garbage data set as soon as another set is beside it.
    `classes` is as in `TrainConfig`. Raises `DataError` for a set that is absent, given twice, or has other folders,
    and for a folder of data sets.
    """
    places = [place for item in data for place in places_of(item, data_root)]
    if not places:
        raise DataError("no data set is named", expected=f"{', '.join(NAMED_SETS)}, or a folder")
    check_apart(places)
    labels = [folder_classes(place.root, names_in(classes), mapped=len(places) > 1) for place in places]
    chosen = chosen_classes(places, labels, classes)
    found: list[Found] = []
    for place, mapping in zip(places, labels, strict=True):
        taken = [one.source.name for one in found]
        found.append(_list(place, mapping, taken))
    return found, chosen


def open_known(data: Sequence[str], data_root: Path, known: Sequence[str], beside: Sequence[Found] = ()) -> list[Found]:
    """The sets that `data` names, with classes out of `known`, some of which may be absent.

    A folder of the recycle data set that `known` lacks is the class of the garbage data set that it maps to. `beside`
    are sets that these must be apart from. Raises `DataError` for a set that is absent or given twice, an unknown or an
    empty folder.
    """
    places = [place for item in data for place in places_of(item, data_root)]
    check_apart([*(Place(one.asked, one.source.root) for one in beside), *places])
    found: list[Found] = []
    for place in places:
        folders = folder_classes(place.root, known, mapped=False)
        labels = {name: name if name in known else RECYCLE_TO_GARBAGE.get(name, name) for name in folders}
        if unknown := [folder for folder, label in labels.items() if label not in known]:
            raise DataError(
                "class folders that the run does not know",
                where=place.root,
                found=", ".join(unknown),
                expected=", ".join(known),
                fix="rename or remove them",
            )
        one = _list(place, labels, [other.source.name for other in (*beside, *found)])
        check_folders_hold_photos(one)
        found.append(one)
    return found


def check_folders_hold_photos(found: Found) -> None:
    """`DataError` naming folders without a photo; a random subset may leave one empty."""
    held = {photo.path.relative_to(found.source.root).parts[0] for photo in found.photos}
    if found.asked != "recycle-small" and (empty := [name for name in found.source.labels if name not in held]):
        raise DataError(
            "classes without a photo",
            where=found.source.root,
            found=", ".join(empty),
            fix="add photos or remove the folder",
        )


@lru_cache(maxsize=3)
def published_names(part: Part) -> frozenset[str]:
    """File names of a part of the published garbage split."""
    return frozenset((_PUBLISHED / f"garbage_{part}.txt").read_text(encoding="utf-8").split())


def rank(seed: int | str, key: str) -> str:
    """A place in an order that is random, follows from the seed and does not change when others come or go."""
    return hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest()


def _list(place: Place, labels: Mapping[str, str], taken: Sequence[str]) -> Found:
    photos = tuple(
        LabelledPhoto(path, label) for folder, label in labels.items() for path in list_images(place.root / folder)
    )
    kind = _kind(labels, photos)
    name = place.asked or (kind if kind != "folder" else place.root.name)
    unique = name if name not in taken else next(f"{name}-{n}" for n in range(2, 99) if f"{name}-{n}" not in taken)
    source = Source(unique, place.root, MappingProxyType(dict(labels)))
    found = Found(source, photos, kind, place.asked, _note_of_amount(place, kind, len(photos)))
    return _random_subset(found, GARBAGE_PHOTOS) if place.asked == "recycle-small" else found


def _note_of_amount(place: Place, kind: Kind, here: int) -> tuple[str, ...]:
    """That a set is not whole, as it is after part of it was fetched; nothing about anybody's own folder."""
    name = stored_name(place.asked) if place.asked else kind
    if name == "folder":
        return ()
    published = sum(data_sets()[name].counts.values())
    if here < published:
        return (f"{name}: {here:,} of {published:,} photos are here; nothing replaces the others",)
    return (f"{name}: {here:,} photos are here, {published:,} are published",) if here > published else ()


def _kind(labels: Mapping[str, str], photos: Sequence[LabelledPhoto]) -> Kind:
    """Whose names these are: folders and file names of the garbage or of the recycle data set, or anybody's."""
    if set(labels) == set(GARBAGE_CLASSES):
        known = frozenset().union(*(published_names(part) for part in PARTS))
        return "garbage" if all(photo.path.name in known for photo in photos) else "folder"
    if set(labels) == set(RECYCLE_TO_GARBAGE):
        return "recycle" if all(_RECYCLE_NAME.fullmatch(photo.path.name) for photo in photos) else "folder"
    return "folder"


def recycle_part(photo: LabelledPhoto) -> Literal["train", "test"]:
    """The part of the recycle data set that a photo's name says it is of."""
    return "test" if photo.path.name.startswith("test-") else "train"


def _random_subset(found: Found, size: int) -> Found:
    """`size` photos of the recycle data set, always the same ones; its own parts keep their proportion."""
    if len(found.photos) <= size:
        note = f"recycle-small: all {len(found.photos)} photos of recycle that are here, fewer than {size}"
        return replace(found, notes=(*found.notes, note))
    ranked = sorted(found.photos, key=lambda photo: rank("recycle-small", found.key(photo)))
    tests = [photo for photo in ranked if recycle_part(photo) == "test"]
    others = [photo for photo in ranked if recycle_part(photo) == "train"]
    count = round(size * len(tests) / len(ranked))
    chosen = {*tests[:count], *others[: size - count]}
    note = f"recycle-small: {size} of {len(found.photos)} photos of recycle, drawn at random"
    return replace(found, photos=tuple(photo for photo in found.photos if photo in chosen), notes=(*found.notes, note))
