"""Photos of one or several sources to the parts train, val and test.

`published`: the parts that the set comes with (garbage: all three; recycle: its test photos, the rest is cut by the
seed). `seeded`: each class folder of each source is cut in an order that follows from the seed and the file names, so
that a photo more or less moves no more than the photo at each cut. `grouped`: the same with groups of photos that show
one object, which are never torn apart. With folds, one of them is for validation and there is no test part. Called by
`train/datasets/photos.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto
from train.config import TrainConfig
from train.datasets.photo_groups import PhotoGroups, find_groups
from train.datasets.sources import PARTS, Found, Part, published_names, rank, recycle_part


@dataclass(frozen=True, slots=True)
class Split:
    """Photos by part, what kind of split it is, and facts for the console and the report."""

    parts: Mapping[Part, tuple[LabelledPhoto, ...]]
    kind: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedSplit:
    """The split that a run began with: its photos as `source/folder/file`."""

    parts: Mapping[Part, Sequence[str]]
    kind: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """Photos that stay together, each with its name in the order of a seed, and the folder that most are of."""

    photos: tuple[LabelledPhoto, ...]
    keys: tuple[str, ...]
    stratum: str

    def rank(self, seed: int) -> str:
        """Place of the unit in the order of the seed: that of its first photo."""
        return min(rank(seed, key) for key in self.keys)


def split_sources(found: Sequence[Found], config: TrainConfig) -> Split:
    """Cut all sources as `config` says; `DataError` for a published split of photos that it does not list."""
    if config.grouped or config.folds:
        photos = [photo for one in found for photo in one.photos]
        groups = find_groups(photos, config) if config.grouped else None
        split = _fold(found, groups, config) if config.folds else _grouped_split(found, groups, config)
        notes = (*_found_notes(found), *_group_notes(groups))
        return Split(split.parts, split.kind, (*notes, *split.notes))
    splits = [_split(one, config) for one in found]
    parts = {part: tuple(photo for split in splits for photo in split.parts[part]) for part in PARTS}
    notes = (*_found_notes(found), *(note for split in splits for note in split.notes))
    kinds = [split.kind for split in splits]
    if len(set(kinds)) == 1:
        return Split(parts, kinds[0], notes)
    names = [one.source.name for one in found]
    return Split(parts, ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True)), notes)


def recorded_split(found: Sequence[Found], recorded: RecordedSplit) -> Split | None:
    """The split that was recorded; None if it lists a photo that is not there any more."""
    photos = {f"{one.source.name}/{one.key(photo)}": photo for one in found for photo in one.photos}
    if any(name not in photos for names in recorded.parts.values() for name in names):
        return None
    parts = {part: tuple(photos[name] for name in recorded.parts[part]) for part in PARTS}
    return Split(parts, recorded.kind, recorded.notes)


def limit_parts(found: Sequence[Found], split: Split, limit: int) -> Split:
    """At most `limit` photos of each class, part and source, evenly from each."""
    parts = {
        part: tuple(
            photo
            for one in found
            for photo in _limited([photo for photo in split.parts[part] if one.source.holds(photo.path)], limit)
        )
        for part in PARTS
    }
    each = "class and part" if len(found) == 1 else "class, part and source"
    return Split(parts, split.kind, (*split.notes, f"limited to {limit} photos per {each}"))


def _split(found: Found, config: TrainConfig) -> Split:
    published = config.split == "published" or (config.split == "auto" and bool(found.asked))
    if published and found.kind == "folder":
        raise _not_published(found)
    if config.split == "seeded" or found.kind == "folder":
        units = _singles(found, found.photos)
        parts = _cut(units, found.photos, config.seed, config.val_part, config.test_part)
        return Split(parts, f"seeded ({config.seed})")
    return _published_garbage(found) if found.kind == "garbage" else _published_recycle(found, config)


def _grouped_split(found: Sequence[Found], groups: PhotoGroups | None, config: TrainConfig) -> Split:
    units = [unit for one in found for unit in _singles(one, one.photos)]
    together = _together(units, groups) if groups else units
    photos = [photo for one in found for photo in one.photos]
    return Split(_cut(together, photos, config.seed, config.val_part, config.test_part), f"grouped ({config.seed})")


def _fold(found: Sequence[Found], groups: PhotoGroups | None, config: TrainConfig) -> Split:
    """One of K folds for validation, the others for training; stratified by source and class."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # half a second, which few runs need

    sources = [one.source.name for one in found for _ in one.photos]
    photos = [photo for one in found for photo in one.photos]
    strata = [f"{source}/{photo.label}" for source, photo in zip(sources, photos, strict=True)]
    if few := [f"{name} {count}" for name, count in Counter(strata).items() if count < config.folds]:
        raise DataError(
            "too few photos for so many folds",
            found=", ".join(few),
            expected=f"{config.folds} or more of each class",
            fix="fewer --folds, or more photos",
        )
    if groups:
        numbers = [groups.numbers[photo.path] for photo in photos]
        folder = StratifiedGroupKFold(config.folds, shuffle=True, random_state=config.seed)
        folds = folder.split(photos, strata, numbers)
    else:
        folds = StratifiedKFold(config.folds, shuffle=True, random_state=config.seed).split(photos, strata)
    train, val = list(folds)[config.fold]
    kind = f"fold {config.fold} of {config.folds}, {'grouped' if groups else 'seeded'} ({config.seed})"
    parts: dict[Part, tuple[LabelledPhoto, ...]] = {
        "train": tuple(photos[index] for index in train),
        "val": tuple(photos[index] for index in val),
        "test": (),
    }
    return Split(parts, kind)


def _found_notes(found: Sequence[Found]) -> tuple[str, ...]:
    return tuple(note for one in found for note in one.notes)


def _group_notes(groups: PhotoGroups | None) -> tuple[str, ...]:
    if groups is None:
        return ()
    sizes = [len(members) for members in groups.members().values() if len(members) > 1]
    return (f"{sum(sizes)} photos show an object that others show, too: {len(sizes)} groups, which no part shares",)


def _published_garbage(found: Found) -> Split:
    parts: dict[Part, tuple[LabelledPhoto, ...]] = {}
    notes = []
    for part in PARTS:
        names = published_names(part)
        parts[part] = tuple(photo for photo in found.photos if photo.path.name in names)
        if absent := len(names) - len(parts[part]):
            notes.append(f"published {part} part: {absent} of {len(names)} photos are not here; nothing replaces them")
    return Split(parts, "published", tuple(notes))


def _published_recycle(found: Found, config: TrainConfig) -> Split:
    """Its own test photos; validation photos are cut from the others."""
    others = [photo for photo in found.photos if recycle_part(photo) == "train"]
    tests = tuple(photo for photo in found.photos if recycle_part(photo) == "test")
    notes = () if tests else (f"{found.source.name}: its own test photos are not here; nothing replaces them",)
    parts = _cut(_singles(found, others), others, config.seed, config.val_part, 0.0)
    return Split({**parts, "test": tests}, f"its own test photos, validation seeded ({config.seed})", notes)


def _singles(found: Found, photos: Iterable[LabelledPhoto]) -> list[_Unit]:
    """Each photo by itself. Its stratum is its folder, not its class: a set is cut alone as it is beside others."""
    keys = [(photo, found.key(photo)) for photo in photos]
    return [_Unit((photo,), (key,), f"{found.source.name}/{key.split('/', 1)[0]}") for photo, key in keys]


def _together(units: Sequence[_Unit], groups: PhotoGroups) -> list[_Unit]:
    """The units of each group as one."""
    members: dict[int, list[_Unit]] = defaultdict(list)
    for unit in units:
        members[groups.numbers[unit.photos[0].path]].append(unit)
    return [
        _Unit(
            tuple(photo for unit in group for photo in unit.photos),
            tuple(key for unit in group for key in unit.keys),
            Counter(unit.stratum for unit in group).most_common(1)[0][0],
        )
        for group in members.values()
    ]


def _cut(
    units: Sequence[_Unit], photos: Sequence[LabelledPhoto], seed: int, val_part: float, test_part: float
) -> dict[Part, tuple[LabelledPhoto, ...]]:
    """Stratified: the units of each stratum in the order of the seed, to val and test until these are full.

    A unit that would make a part a quarter too large goes to the next part; val gets at least one of each stratum.
    Within a part the photos stand as in `photos`.
    """
    chosen: dict[Part, set[Path]] = {part: set() for part in PARTS}
    strata: dict[str, list[_Unit]] = defaultdict(list)
    for unit in units:
        strata[unit.stratum].append(unit)
    for members in strata.values():
        total = sum(len(unit.photos) for unit in members)
        wanted: dict[Part, int] = {"val": max(1, round(total * val_part)), "test": round(total * test_part)}
        for part, unit in _assign(sorted(members, key=lambda unit: unit.rank(seed)), wanted):
            chosen[part].update(photo.path for photo in unit.photos)
    return {part: tuple(photo for photo in photos if photo.path in chosen[part]) for part in PARTS}


def _assign(units: Sequence[_Unit], wanted: Mapping[Part, int]) -> list[tuple[Part, _Unit]]:
    taken: dict[Part, int] = dict.fromkeys(PARTS, 0)
    assigned: list[tuple[Part, _Unit]] = []
    for unit in units:
        size = len(unit.photos)
        fits = (part for part, least in wanted.items() if taken[part] < least and taken[part] + size <= 1.25 * least)
        part: Part = next(fits, "train")
        taken[part] += size
        assigned.append((part, unit))
    if not taken["val"] and len(units) > 1:  # nothing but large groups: the smallest one
        smallest = min(range(len(units)), key=lambda index: len(units[index].photos))
        assigned[smallest] = ("val", units[smallest])
    return assigned


def _not_published(found: Found) -> DataError:
    known = frozenset().union(*(published_names(part) for part in PARTS))
    strangers = [photo.path.name for photo in found.photos if photo.path.name not in known]
    recycle = bool(set(found.source.labels) & set(RECYCLE_TO_GARBAGE))
    folders = RECYCLE_TO_GARBAGE if recycle else GARBAGE_CLASSES
    same = set(found.source.labels) == set(folders)
    example = "train-00001.png and test-00001.png" if recycle else "cardboard1.jpg"
    return DataError(
        "the published split does not list these photos",
        where=found.source.root,
        found=f"{len(strangers)} other names, such as {strangers[0]}"
        if same and strangers
        else f"classes {', '.join(found.source.labels)}",
        expected=f"names such as {example} in the folders {', '.join(folders)}",
        fix="--split seeded",
    )


def _grouped(photos: Sequence[LabelledPhoto], name: Callable[[LabelledPhoto], str]) -> dict[str, list[LabelledPhoto]]:
    groups: dict[str, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        groups[name(photo)].append(photo)
    return groups


def _limited(photos: Sequence[LabelledPhoto], limit: int) -> list[LabelledPhoto]:
    return [
        photo for members in _grouped(photos, lambda photo: photo.label).values() for photo in _spread(members, limit)
    ]


def _spread(members: Sequence[LabelledPhoto], limit: int) -> list[LabelledPhoto]:
    """At most `limit` photos, evenly from the whole list: neighbours often show one object."""
    if len(members) <= limit:
        return list(members)
    return [members[int(position)] for position in np.linspace(0, len(members) - 1, limit)]
