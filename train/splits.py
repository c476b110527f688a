"""Photos of one or several sources to the parts train, val and test. Nothing is opened here.

`published`: the parts that the set comes with (garbage: all three; recycle: its test photos, the rest is cut by the
seed). `seeded`: each class folder of each source is cut in an order that follows from the seed and the file names, so
that a photo more or less moves no more than the photo at each cut. Called by `train/photos.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto, natural_key
from train.config import TrainConfig
from train.sources import PARTS, Found, Part, published_names, rank, recycle_part


@dataclass(frozen=True, slots=True)
class Split:
    """Photos by part, what kind of split it is, and facts for the console and the report."""

    parts: Mapping[Part, tuple[LabelledPhoto, ...]]
    kind: str
    notes: tuple[str, ...] = ()


def split_sources(found: Sequence[Found], config: TrainConfig) -> Split:
    """Cut all sources as `config.split` says; `DataError` for a published split of photos that it does not list."""
    splits = [_split(one, config) for one in found]
    parts = {part: tuple(photo for split in splits for photo in split.parts[part]) for part in PARTS}
    notes = [note for one in found for note in one.notes] + [note for split in splits for note in split.notes]
    kinds = [split.kind for split in splits]
    if len(set(kinds)) == 1:
        return Split(parts, kinds[0], tuple(notes))
    names = [one.source.name for one in found]
    return Split(parts, ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True)), tuple(notes))


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
        parts = seeded_parts(found, found.photos, config.seed, config.val_part, config.test_part)
        return Split(parts, f"seeded ({config.seed})")
    return _published_garbage(found) if found.kind == "garbage" else _published_recycle(found, config)


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
    parts = seeded_parts(found, others, config.seed, config.val_part, 0.0)
    return Split({**parts, "test": tests}, f"its own test photos, validation seeded ({config.seed})", notes)


def seeded_parts(
    found: Found, photos: Sequence[LabelledPhoto], seed: int, val_part: float, test_part: float
) -> dict[Part, tuple[LabelledPhoto, ...]]:
    """Stratified: the photos of each folder in the order of their rank, then cut; at least one of each for val.

    Folders, not classes: a set is cut in the same way alone and beside others.
    """
    by_folder = _grouped(photos, lambda photo: found.key(photo).split("/", 1)[0])
    chosen: dict[Part, set[LabelledPhoto]] = {"train": set(), "val": set(), "test": set()}
    for members in by_folder.values():
        ranked = sorted(members, key=lambda photo: rank(seed, found.key(photo)))
        val, test = max(1, round(len(members) * val_part)), round(len(members) * test_part)
        chosen["val"].update(ranked[:val])
        chosen["test"].update(ranked[val : val + test])
        chosen["train"].update(ranked[val + test :])
    in_order = [photo for members in by_folder.values() for photo in sorted(members, key=lambda x: natural_key(x.path))]
    return {part: tuple(photo for photo in in_order if photo in chosen[part]) for part in PARTS}


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
