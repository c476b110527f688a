"""A data set on disk: class folders, the split into parts, and the checks that come before the first epoch.

In: a folder with one folder of photos per class. Out: a `DataSet` with its parts as lists of photos. `check_photos`
reads every file once; whatever is wrong is one `DataError` that names the files.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from smartbin.classes import GARBAGE_CLASSES, check_classes
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto, list_images, natural_key
from train.config import TrainConfig

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
SPLITS = Path(__file__).parent / "splits"


@dataclass(frozen=True, slots=True)
class DataSet:
    """Labelled photos in parts. `notes` are facts for the console and the report, such as absent photos."""

    name: str
    root: Path
    classes: tuple[str, ...]
    split: str
    train: tuple[LabelledPhoto, ...]
    val: tuple[LabelledPhoto, ...]
    test: tuple[LabelledPhoto, ...]
    notes: tuple[str, ...] = ()

    def part(self, name: Part) -> tuple[LabelledPhoto, ...]:
        """The photos of a part."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def photos(self) -> tuple[LabelledPhoto, ...]:
        """All photos, part after part."""
        return self.train + self.val + self.test

    def counts(self, part: Part) -> dict[str, int]:
        """Photos per class in a part, in the order of the classes."""
        found = Counter(photo.label for photo in self.part(part))
        return {label: found[label] for label in self.classes}


def open_data(config: TrainConfig) -> DataSet:
    """Find the photos, check folders and counts, split; no photo is opened. `DataError` says what does not fit."""
    builtin = config.data == "garbage"
    root = (config.data_root if builtin else Path(config.data)).resolve()
    if not root.is_dir():
        raise DataError(
            "no data set here",
            where=root,
            expected="a folder with one folder of photos per class",
            fix="point --data-root (or SMARTBIN_DATA) at the garbage data set" if builtin else "check --data",
        )
    classes = _chosen_classes(root, ",".join(GARBAGE_CLASSES) if builtin else config.classes)
    photos = read_class_folders(root, classes)
    _check_counts(root, photos, classes, config.min_photos)
    published = _use_published(photos, classes, "published" if builtin else config.split, root)
    parts, notes = _published_split(photos) if published else _seeded_split(photos, classes, config)
    if config.limit:
        parts = {name: _limited(chosen, config.limit) for name, chosen in parts.items()}
        notes = [*notes, f"limited to {config.limit} photos per class and part"]
    data = DataSet(
        name="garbage" if published else root.name,
        root=root,
        classes=classes,
        split="published" if published else f"seeded ({config.seed})",
        train=tuple(parts["train"]),
        val=tuple(parts["val"]),
        test=tuple(parts["test"]),
        notes=tuple(notes),
    )
    _check_parts(data)
    return data


def read_class_folders(root: Path, classes: Sequence[str] | None = None) -> list[LabelledPhoto]:
    """The photos of a folder of class folders, by class and in natural order; folders not in `classes` are left out."""
    names = class_folders(root) if classes is None else [name for name in classes if (root / name).is_dir()]
    return [LabelledPhoto(path, name) for name in names for path in list_images(root / name)]


def class_folders(root: Path) -> list[str]:
    """Names of the class folders, sorted; hidden ones are left out."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def fingerprint(data: DataSet, digests: Mapping[Path, str]) -> str:
    """SHA-256 over part, label, name and content of every photo: equal means trained on the same."""
    digest = hashlib.sha256()
    for part in PARTS:
        for photo in sorted(data.part(part), key=lambda item: item.path.as_posix()):
            name = photo.path.relative_to(data.root).as_posix()
            digest.update(f"{part}\0{photo.label}\0{name}\0{digests[photo.path]}\n".encode())
    return digest.hexdigest()


def _chosen_classes(root: Path, wanted: str) -> tuple[str, ...]:
    """The classes to train on; `DataError` for folders that are none of them and for classes without a folder."""
    found = class_folders(root)
    if not found:
        raise DataError("no class folders here", where=root, expected="one folder of photos per class")
    if wanted == "any":
        return check_classes(found)
    if wanted == "auto":
        if not set(found) & set(GARBAGE_CLASSES):
            return check_classes(found)
        names: tuple[str, ...] = GARBAGE_CLASSES
    else:
        names = check_classes([name.strip() for name in wanted.split(",")])
    if unknown := sorted(set(found) - set(names)):
        raise DataError(
            "unknown class folders",
            where=root,
            found=", ".join(unknown),
            expected=", ".join(names),
            fix="rename or remove them, or take all folders as classes: --classes any",
        )
    if missing := [name for name in names if name not in found]:
        raise DataError(
            "class folders are missing",
            where=root,
            found=", ".join(found),
            expected=", ".join(missing),
            fix="add them, or take the folders there are as classes: --classes any",
        )
    return names


def _check_counts(root: Path, photos: Sequence[LabelledPhoto], classes: Sequence[str], least: int) -> None:
    counts = Counter(photo.label for photo in photos)
    if empty := [name for name in classes if not counts[name]]:
        raise DataError(
            "classes without a photo", where=root, found=", ".join(empty), fix="add photos or remove the folder"
        )
    if few := [f"{name} {counts[name]}" for name in classes if counts[name] < least]:
        raise DataError(
            "classes with too few photos",
            where=root,
            found=", ".join(few),
            expected=f"{least} or more in each",
            fix="add photos, or lower --min-photos",
        )


def _use_published(photos: Sequence[LabelledPhoto], classes: tuple[str, ...], split: str, root: Path) -> bool:
    """Whether to take the published split: asked for, or `auto` and every photo has a published name."""
    if split == "seeded":
        return False
    known = set().union(*(published_names(part) for part in PARTS))
    strangers = [photo.path.name for photo in photos if photo.path.name not in known]
    fits = set(classes) == set(GARBAGE_CLASSES) and not strangers
    if split == "published" and not fits:
        raise DataError(
            "the published split does not list these photos",
            where=root,
            found=f"{len(strangers)} other names, such as {strangers[0]}"
            if strangers
            else f"classes {', '.join(classes)}",
            expected="names such as cardboard1.jpg in the six folders of the garbage data set",
            fix="--split seeded",
        )
    return fits


@lru_cache(maxsize=3)
def published_names(part: Part) -> frozenset[str]:
    """File names of a part of the published garbage split."""
    return frozenset((SPLITS / f"garbage_{part}.txt").read_text(encoding="utf-8").split())


def _published_split(photos: Sequence[LabelledPhoto]) -> tuple[dict[Part, list[LabelledPhoto]], list[str]]:
    parts: dict[Part, list[LabelledPhoto]] = {}
    notes = []
    for part in PARTS:
        names = published_names(part)
        parts[part] = [photo for photo in photos if photo.path.name in names]
        if absent := len(names) - len(parts[part]):
            notes.append(f"published {part} part: {absent} of {len(names)} photos are not here; nothing replaces them")
    return parts, notes


def _seeded_split(
    photos: Sequence[LabelledPhoto], classes: Sequence[str], config: TrainConfig
) -> tuple[dict[Part, list[LabelledPhoto]], list[str]]:
    """Stratified: each class is shuffled by the seed, then cut; at least one photo of each for train and val."""
    parts: dict[Part, list[LabelledPhoto]] = {"train": [], "val": [], "test": []}
    for index, label in enumerate(classes):
        members = sorted((photo for photo in photos if photo.label == label), key=lambda item: natural_key(item.path))
        order = np.random.default_rng([config.seed, index]).permutation(len(members))
        val = max(1, round(len(members) * config.val_part))
        test = round(len(members) * config.test_part)
        cuts: dict[Part, np.ndarray] = {
            "val": order[:val],
            "test": order[val : val + test],
            "train": order[val + test :],
        }
        for part, chosen in cuts.items():
            parts[part] += [members[number] for number in sorted(chosen)]
    return parts, []


def _limited(photos: Sequence[LabelledPhoto], limit: int) -> list[LabelledPhoto]:
    by_class: dict[str, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        by_class[photo.label].append(photo)
    return [photo for members in by_class.values() for photo in _spread(members, limit)]


def _spread(members: Sequence[LabelledPhoto], limit: int) -> list[LabelledPhoto]:
    """At most `limit` photos, evenly from the whole list: neighbours often show one object."""
    if len(members) <= limit:
        return list(members)
    return [members[int(position)] for position in np.linspace(0, len(members) - 1, limit)]


def _check_parts(data: DataSet) -> None:
    parts: tuple[Part, ...] = ("train", "val")
    for part in parts:
        if empty := [label for label, count in data.counts(part).items() if not count]:
            raise DataError(
                f"classes without a photo in the {part} part",
                where=data.root,
                found=", ".join(empty),
                expected="one or more photos of each class",
                fix="add photos, or --split seeded",
            )
