"""Small data sets with the folders and names of the real ones, drawn on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from tests.conftest import draw_photo
from train.datasets.sources import published_names


def write_garbage(root: Path, *, train: int = 6) -> Path:
    """Some photos with published names, six classes, `train` of each to train on; of the test part only cardboard's.

    Returns `root`.
    """
    for number, label in enumerate(GARBAGE_CLASSES):
        (root / label).mkdir(parents=True)
        for part, count in (("train", train), ("val", 4), ("test", 3 if label == "cardboard" else 0)):
            names = sorted(name for name in published_names(part) if name.startswith(label))
            for index, name in enumerate(names[:count]):
                cv2.imwrite(str(root / label / name), draw_photo(100 * number + 10 * len(part) + index))
    return root


def write_recycle(root: Path, *, train: int = 10, test: int = 3) -> Path:
    """`train` and `test` photos of each of the five classes, numbered as unpacked from the npz. Returns `root`."""
    numbers = {"train": 0, "test": 0}
    for label in RECYCLE_TO_GARBAGE:
        (root / label).mkdir(parents=True)
        for part, count in (("train", train), ("test", test)):
            for _ in range(count):
                numbers[part] += 1
                photo = draw_photo(5000 + 17 * numbers[part] + len(part), 32, 32)
                cv2.imwrite(str(root / label / f"{part}-{numbers[part]:05d}.png"), photo)
    return root
