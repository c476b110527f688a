"""Real photos as network inputs, batch by batch, through the device preprocessing.

Calibration, parity, validation and the card all read photos here, so that no photo set has to fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smartbin.errors import DataError
from smartbin.images import LabelledPhoto, list_images, read_image
from smartbin.lowlight import dim
from smartbin.preprocess import PreprocessSpec, stack_inputs, to_input

BATCH = 16


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Photos under a name. `light` below 1 darkens each one as a camera would see it, see `smartbin.lowlight`."""

    name: str
    photos: tuple[LabelledPhoto, ...]
    light: float = 1.0

    def __post_init__(self) -> None:
        if not self.photos:
            raise DataError("a set of photos is empty", where=self.name, expected="one or more photos")

    @property
    def title(self) -> str:
        """Name of the set, and its light where that is changed."""
        return photo_set_title(self.name, self.light)

    def labels(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Index of each photo's class, [N]."""
        index = {name: number for number, name in enumerate(classes)}
        return np.asarray([index[photo.label] for photo in self.photos], np.int64)

    def batches(self, spec: PreprocessSpec, size: int = BATCH) -> Iterator[NDArray[np.uint8]]:
        """Network inputs uint8 [n, S, S, 3] RGB, n at most `size`, in the order of the photos; the same each time."""
        for start in range(0, len(self.photos), size):
            chosen = enumerate(self.photos[start : start + size], start)
            yield stack_inputs([to_input(read_dimmed(photo.path, self.light, seed), spec) for seed, photo in chosen])


def photo_set_title(name: str, light: float) -> str:
    """`validation`, or `validation at 1/4 light`."""
    return name if light == 1.0 else f"{name} at {Fraction(light).limit_denominator(256)} light"


def read_dimmed(path: Path, light: float, seed: int) -> NDArray[np.uint8]:
    """A photo uint8 [H, W, 3] BGR at `light` times its light; untouched at 1."""
    image = read_image(path)
    return image if light == 1.0 else dim(image, light, np.random.default_rng(seed))


def take_evenly(photos: Sequence[LabelledPhoto], limit: int | None) -> tuple[LabelledPhoto, ...]:
    """At most `limit` photos, spread over the whole list, so that every class of a sorted list is kept."""
    if limit is None or len(photos) <= limit:
        return tuple(photos)
    return tuple(photos[int(position)] for position in np.linspace(0, len(photos) - 1, limit))


def class_balanced(photos: Sequence[LabelledPhoto], per_class: int, seed: int) -> list[LabelledPhoto]:
    """At most `per_class` photos of each class, drawn with `seed`, the classes in turn.

    In turn, so that every beginning of the list is balanced, too.
    """
    rng = np.random.default_rng(seed)
    by_class: dict[str, list[LabelledPhoto]] = {}
    for photo in photos:
        by_class.setdefault(photo.label, []).append(photo)
    drawn = [[members[int(i)] for i in rng.permutation(len(members))[:per_class]] for members in by_class.values()]
    rounds = range(max((len(members) for members in drawn), default=0))
    return [members[turn] for turn in rounds for members in drawn if turn < len(members)]


def open_class_folders(root: Path, classes: Sequence[str]) -> PhotoSet:
    """The photos of a folder of class folders, for measuring; a class may be absent, an unknown one may not."""
    if not root.is_dir():
        raise DataError(
            "no photos to measure here", where=root, expected="a folder with one folder of photos per class"
        )
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    if unknown := [folder.name for folder in folders if folder.name not in classes]:
        raise DataError(
            "unknown class folders", where=root, found=", ".join(unknown), expected=f"some of {', '.join(classes)}"
        )
    photos = [LabelledPhoto(path, folder.name) for folder in folders for path in list_images(folder)]
    return PhotoSet(root.resolve().name, tuple(photos))
