"""A data set to train on: photos of one or several sources, in parts, with the checks that come before the first epoch.

In: a `TrainConfig`. Out: a `DataSet`, whose photos are paths with a class and know their source.
`train/datasets/sources.py` finds them, `train/datasets/splits.py` cuts them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smartbin.errors import DataError
from smartbin.images import LabelledPhoto
from train.config import TrainConfig
from train.datasets.review import apply_review
from train.datasets.sources import PARTS, Found, Part, Source, check_folders_hold_photos, open_known, open_sources
from train.datasets.splits import RecordedSplit, Split, limit_parts, recorded_split, split_sources

__all__ = ["PARTS", "DataSet", "Part", "Source", "chosen_photos", "data_name", "fingerprint", "open_data"]

_CHOICE = 7  # sets a draw apart from the others that are made of the seed


@dataclass(frozen=True, slots=True)
class DataSet:
    """Labelled photos in parts. `notes` are facts for the console and the report, such as absent photos."""

    name: str
    sources: tuple[Source, ...]
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

    def source_of(self, photo: LabelledPhoto) -> str:
        """Name of the source that a photo is of; `KeyError` if it is of none."""
        return self._source(photo).name

    def name_of(self, photo: LabelledPhoto) -> str:
        """`source/folder/file`, as `split.json` and `predictions.csv` name photos."""
        source = self._source(photo)
        return f"{source.name}/{photo.path.relative_to(source.root).as_posix()}"

    @property
    def where(self) -> str:
        """The folders of all sources, for messages."""
        return ", ".join(str(source.root) for source in self.sources)

    def _source(self, photo: LabelledPhoto) -> Source:
        for source in self.sources:
            if source.holds(photo.path):
                return source
        raise KeyError(photo.path)


def open_data(config: TrainConfig, recorded: RecordedSplit | None = None) -> DataSet:
    """Find the photos, check folders and counts, split; photos are opened for a grouped split only.

    A resumed run passes the split that it recorded: it stays, even where the grouping would come out otherwise.
    `DataError` says what does not fit.
    """
    found, classes = open_sources(config.data, config.data_root, config.classes)
    _check_counts(found, classes, config.min_photos)
    extra = open_known(config.extra, config.data_root, classes, beside=found)
    everything = [*found, *extra]
    split = recorded_split(everything, recorded) if recorded else None
    if split is None:
        split = split_sources(found, config)
        if config.review == "on":
            split = apply_review(found, split)
        split = _with_extra(split, extra)
        if config.limit:
            split = limit_parts(everything, split, config.limit)
    data = DataSet(
        name=data_name([one.source.name for one in found]),
        sources=tuple(one.source for one in everything),
        classes=classes,
        split=split.kind,
        train=split.parts["train"],
        val=split.parts["val"],
        test=split.parts["test"],
        notes=split.notes,
    )
    _check_parts(data)
    return data


def _with_extra(split: Split, extra: Sequence[Found]) -> Split:
    if not extra:
        return split
    photos = tuple(photo for one in extra for photo in one.photos)
    note = f"{len(photos)} pictures that are trained on alone: {', '.join(one.source.name for one in extra)}"
    notes = (*split.notes, *(note for one in extra for note in one.notes), note)
    return Split({**split.parts, "train": (*split.parts["train"], *photos)}, split.kind, notes)


def data_name(sources: Sequence[str]) -> str:
    """Name of a data set of these sources: `combined`, or theirs joined."""
    return "combined" if sorted(sources) == ["garbage", "recycle"] else "+".join(sources)


def fingerprint(data: DataSet, digests: Mapping[Path, str]) -> str:
    """SHA-256 over part, label, folder, name and content of every photo: equal means trained on the same.

    Where the sources are and what they are called does not matter.
    """
    digest = hashlib.sha256()
    for part in PARTS:
        named = ((data.name_of(photo).split("/", 1)[1], photo) for photo in data.part(part))
        lines = [f"{part}\0{photo.label}\0{name}\0{digests[photo.path]}\n" for name, photo in named]
        for line in sorted(lines, key=lambda text: text.split("\0")[2:]):
            digest.update(line.encode())
    return digest.hexdigest()


def _check_counts(found: Sequence[Found], classes: Sequence[str], least: int) -> None:
    where = ", ".join(str(one.source.root) for one in found)
    for one in found:
        check_folders_hold_photos(one)
    counts = Counter(photo.label for one in found for photo in one.photos)
    if few := [f"{name} {counts[name]}" for name in classes if counts[name] < least]:
        raise DataError(
            "classes with too few photos",
            where=where,
            found=", ".join(few),
            expected=f"{least} or more in each",
            fix="add photos, or lower --min-photos",
        )


def _check_parts(data: DataSet) -> None:
    parts: tuple[Part, ...] = ("train", "val")
    for part in parts:
        if empty := [label for label, count in data.counts(part).items() if not count]:
            raise DataError(
                f"classes without a photo in the {part} part",
                where=data.where,
                found=", ".join(empty),
                expected="one or more photos of each class",
                fix="add photos, or --split seeded",
            )


def chosen_photos(photos: Sequence[LabelledPhoto], count: int, seed: int) -> tuple[LabelledPhoto, ...]:
    """`count` of the photos (all, if there are fewer) in their order, the same for the same seed."""
    if count >= len(photos):
        return tuple(photos)
    chosen = np.random.default_rng([seed, _CHOICE]).choice(len(photos), count, replace=False)
    return tuple(photos[index] for index in sorted(chosen))
