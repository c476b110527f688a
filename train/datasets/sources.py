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

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE, check_classes
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto, list_images
from train.datasets.root import FETCHED, OLD_GARBAGE
from train.fetching.registry import data_sets

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Kind: TypeAlias = Literal["garbage", "recycle", "folder"]

NAMED_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "garbage": ("garbage",),
        "recycle": ("recycle",),
        "recycle-small": ("recycle-small",),
        "combined": ("garbage", "recycle"),
    }
)
"""What `--data` knows by name, and the sets that each stands for."""

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


@dataclass(frozen=True, slots=True)
class _Place:
    """A set asked for, before anything of it is read; `asked` is empty for a folder."""

    asked: str
    root: Path


def open_sources(data: Sequence[str], data_root: Path, classes: str = "auto") -> tuple[list[Found], tuple[str, ...]]:
    """Find the sets that `data` names and list their photos; returns them and the classes in their order.

    The folders of the recycle data set become classes of the garbage data set as soon as another set is beside it.
    `classes` is as in `TrainConfig`. Raises `DataError` for a set that is absent, given twice, or has other folders,
    and for a folder of data sets.
    """
    places = [place for item in data for place in _places(item, data_root)]
    if not places:
        raise DataError("no data set is named", expected=f"{', '.join(NAMED_SETS)}, or a folder")
    _check_apart(places)
    labels = [_labels(place.root, _names_in(classes), mapped=len(places) > 1) for place in places]
    chosen = _chosen_classes(places, labels, classes)
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
    places = [place for item in data for place in _places(item, data_root)]
    _check_apart([*(_Place(one.asked, one.source.root) for one in beside), *places])
    found: list[Found] = []
    for place in places:
        folders = _labels(place.root, known, mapped=False)
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


def class_folders(root: Path) -> list[str]:
    """Names of the class folders, sorted; hidden ones are left out."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


@lru_cache(maxsize=3)
def published_names(part: Part) -> frozenset[str]:
    """File names of a part of the published garbage split."""
    return frozenset((_PUBLISHED / f"garbage_{part}.txt").read_text(encoding="utf-8").split())


def rank(seed: int | str, key: str) -> str:
    """A place in an order that is random, follows from the seed and does not change when others come or go."""
    return hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest()


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


def _places(item: str, data_root: Path) -> list[_Place]:
    if item not in NAMED_SETS:
        root = Path(item)
        if not root.is_dir():
            raise DataError(
                "no data set here",
                where=root.resolve(),
                expected=f"a folder with one folder of photos per class, or one of {', '.join(NAMED_SETS)}",
                fix="check the name or the path",
            )
        return [_Place("", root.resolve())]
    places = []
    for name in NAMED_SETS[item]:
        stored = _stored(name)
        root_found = find_named(stored, data_root)
        if root_found is None:
            raise DataError(
                f"no data set here: {stored} is absent",
                where=data_root.resolve(),
                expected=f"the folder {stored} with one folder of photos per class",
                fix=f"smartbin-train data fetch {stored}, or point --data-root (or SMARTBIN_DATA) at the folder that "
                "holds it",
            )
        places.append(_Place(name, root_found.resolve()))
    return places


def _stored(name: str) -> str:
    """The set on disk that a set asked for by `name` is taken from."""
    return "recycle" if name == "recycle-small" else name


def _check_apart(places: Sequence[_Place]) -> None:
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


def _labels(root: Path, known: Sequence[str], *, mapped: bool) -> dict[str, str]:
    """Class of each folder; `mapped`: the recycle data set's folders as classes of the garbage data set.

    A folder whose name is neither one of `known` nor a class of these sets is one only if photos lie right in it.
    """
    folders = class_folders(root)
    if not folders:
        flat = len(list_images(root))
        raise DataError(
            "no class folders here",
            where=root,
            found=f"{flat} photos without a class" if flat else "no photos",
            expected="one folder of photos per class",
            fix=f"put the photos of each class into a folder of its name: {root / 'CLASS' / 'photo.jpg'}"
            if flat
            else "check the path",
        )
    sure = {*known, *GARBAGE_CLASSES, *RECYCLE_TO_GARBAGE}
    if outer := [name for name in folders if name not in sure and _holds_folders_of_photos(root / name)]:
        raise DataError(
            "these folders hold folders of photos, not photos",
            where=root,
            found="; ".join(f"{name}: {', '.join(class_folders(root / name))}" for name in outer),
            expected="photos right in each class folder",
            fix=_instead_of(root, outer),
        )
    return {folder: RECYCLE_TO_GARBAGE.get(folder, folder) if mapped else folder for folder in folders}


def _holds_folders_of_photos(folder: Path) -> bool:
    photos = list_images(folder)
    return bool(photos) and all(photo.parent != folder for photo in photos)


def _instead_of(root: Path, outer: Sequence[str]) -> str:
    """What to write instead of `root`, where the folders `outer` hold folders of photos."""
    sets = [name for name in FETCHED if (found := find_named(name, root)) and found.parent == root]
    if sets:
        names = [*sets, *(["combined"] if len(sets) > 1 else [])]
        return f"instead of this folder write {' or '.join(names)}, and --data-root {root}"
    classes = ",".join(class_folders(root))
    return f"give the folder of the class folders, such as {root / outer[0]}; or train on these: --classes {classes}"


def _names_in(classes: str) -> list[str]:
    """The names that `--classes` gives, if it gives any."""
    return [] if classes in ("auto", "any") else [name.strip() for name in classes.split(",")]


def _chosen_classes(places: Sequence[_Place], labels: Sequence[Mapping[str, str]], wanted: str) -> tuple[str, ...]:
    """The classes to train on; `DataError` for folders that are none of them and for classes without a folder."""
    found = {label for mapping in labels for label in mapping.values()}
    where = ", ".join(str(place.root) for place in places)
    if wanted == "any" or (wanted == "auto" and not found & set(GARBAGE_CLASSES)):
        first = [] if len(places) == 1 else [name for name in GARBAGE_CLASSES if name in found]
        return check_classes([*first, *sorted(found - set(first))])
    names = GARBAGE_CLASSES if wanted == "auto" else check_classes(_names_in(wanted))
    for place, mapping in zip(places, labels, strict=True):
        if unknown := sorted(folder for folder, label in mapping.items() if label not in names):
            raise DataError(
                "unknown class folders",
                where=place.root,
                found=", ".join(unknown),
                expected=", ".join(names),
                fix="rename or remove them, or take all folders as classes: --classes any",
            )
    if missing := [name for name in names if name not in found]:
        raise DataError(
            "class folders are missing",
            where=where,
            found=", ".join(sorted(found)),
            expected=", ".join(missing),
            fix="add them, or take the folders there are as classes: --classes any",
        )
    return names


def _list(place: _Place, labels: Mapping[str, str], taken: Sequence[str]) -> Found:
    photos = tuple(
        LabelledPhoto(path, label) for folder, label in labels.items() for path in list_images(place.root / folder)
    )
    kind = _kind(labels, photos)
    name = place.asked or (kind if kind != "folder" else place.root.name)
    unique = name if name not in taken else next(f"{name}-{n}" for n in range(2, 99) if f"{name}-{n}" not in taken)
    source = Source(unique, place.root, MappingProxyType(dict(labels)))
    found = Found(source, photos, kind, place.asked, _note_of_amount(place, kind, len(photos)))
    return _random_subset(found, GARBAGE_PHOTOS) if place.asked == "recycle-small" else found


def _note_of_amount(place: _Place, kind: Kind, here: int) -> tuple[str, ...]:
    """That a set is not whole, as it is after part of it was fetched; nothing about anybody's own folder."""
    name = _stored(place.asked) if place.asked else kind
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
