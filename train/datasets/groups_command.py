"""Which photos of a data set show one object, and what a split does with them. Command `train/run.py data groups`.

In: the data flags of a training run. Out: lines on the console and, if wished, a contact sheet of groups.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from smartbin.atomic import write_bytes_atomic
from smartbin.config import load_settings
from smartbin.images import LabelledPhoto
from train.cache.reading import PhotoStore, open_photos
from train.cli import parse_train, png_file
from train.config import TrainConfig, resolve
from train.console import say
from train.datasets.duplicates import group_numbers
from train.datasets.photo_groups import PhotoGroups, find_groups, same_view_pairs
from train.datasets.photos import DataSet, open_data

_SHOWN = 30
_MEMBERS = 6
_CELL = (128, 96)


def groups_command(arguments: Sequence[str]) -> int:
    """The command `data groups`; the exit code."""
    parser = argparse.ArgumentParser(
        prog="train/run.py data groups",
        description="Photos of one object, and how a split treats them.",
        epilog="Every setting of train/run.py may follow, such as --data, --split, --seed and --group-weights.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--sheet", type=png_file, metavar="FILE.png", help=f"a picture of {_SHOWN} groups, drawn by --seed"
    )
    known, rest = parser.parse_known_args(arguments)
    command = parse_train(rest)
    config = resolve(load_settings(TrainConfig, command.config, {"data": ["garbage"], **command.overrides}))
    data = open_data(config)
    photos = sorted(data.photos(), key=data.name_of)
    store = open_photos(photos, config.machine, config.photo_side)
    groups = find_groups(photos, config)
    views = group_numbers(len(photos), same_view_pairs(photos, store))
    same_view = PhotoGroups({photo.path: int(number) for photo, number in zip(photos, views, strict=True)})
    for line in describe_groups(data, groups, same_view):
        say(line)
    if known.sheet:
        several = [members for members in groups.members().values() if len(members) > 1]
        if several:
            write_bytes_atomic(known.sheet, contact_sheet(several, store, config.seed))
        say(f"written: {known.sheet}" if several else f"there is no group to show; {known.sheet} was not written")
    return 0


def describe_groups(data: DataSet, groups: PhotoGroups, same_view: PhotoGroups) -> list[str]:
    """Sizes of the groups, and which photos of a part have one of their object in the training part."""
    sizes = sorted((len(members) for members in groups.members().values() if len(members) > 1), reverse=True)
    lines = [
        f"{data.name}: {len(data.photos())} photos; {sum(sizes)} of them are in {len(sizes)} groups of two or more, "
        f"the largest of {sizes[0] if sizes else 0}",
        f"split {data.split}: photos that share a group with a training photo",
    ]
    for part, photos in (("val", data.val), ("test", data.test)):
        if photos:
            same = len(same_view.straddling(photos, data.train))
            lines.append(
                f"  {part}: {_by_class(photos, groups.straddling(photos, data.train))}; {same} in the same view"
            )
    return lines


def _by_class(photos: Sequence[LabelledPhoto], some: Sequence[LabelledPhoto]) -> str:
    labels = sorted({photo.label for photo in photos})
    counts = [f"{label} {sum(photo.label == label for photo in some)}" for label in labels]
    return f"{len(some)} of {len(photos)} ({', '.join(counts)})"


def contact_sheet(groups: Sequence[Sequence[Path]], store: PhotoStore, seed: int) -> bytes:
    """A PNG of groups drawn at random, one a row, at most six photos of each."""
    drawn = np.random.default_rng(seed).permutation(len(groups))[:_SHOWN]
    width, height = _CELL
    sheet = np.zeros((len(drawn) * height, _MEMBERS * width, 3), np.uint8)
    for row, number in enumerate(drawn):
        for column, path in enumerate(groups[int(number)][:_MEMBERS]):
            small = cv2.resize(store.training_image(path), _CELL, interpolation=cv2.INTER_AREA)
            cv2.putText(small, path.stem, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 255), 1, cv2.LINE_AA)
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = small
    return bytes(cv2.imencode(".png", sheet)[1])
