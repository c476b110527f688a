"""Training photos to scenes: items cut out of photos of one class, put on another background, one or several of them.

Called by the loader in place of a photo, with the probability `Augment.paste`. What comes out is a picture like any
other and goes through the whole augmentation. `prepare_scenes` cuts every training photo out once, at set-up.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.images import BgrImage, LabelledPhoto
from train.augmentation.backgrounds import background
from train.augmentation.cutout import CutOut, cut_out
from train.cache.reading import PhotoStore
from train.console import progress

_SIDE = 256
_MOST_ITEMS = 9
_MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class Scenes:
    """The cut-outs of the training photos, by place in the list of photos."""

    cut_outs: Mapping[int, CutOut]
    same_class: Mapping[int, tuple[int, ...]]
    """For each photo with a cut-out: the photos of its class that have one."""
    probability: float

    def draw(self, photo: int, seed: int) -> BgrImage | None:
        """A scene around the item of a photo, or None: it has no cut-out, or the seed says to take it as it is."""
        rng = np.random.default_rng([seed, 1])
        if rng.random() >= self.probability or photo not in self.cut_outs:
            return None
        count = _count(rng)
        others = rng.choice(self.same_class[photo], count - 1)
        return compose([self.cut_outs[photo], *(self.cut_outs[int(other)] for other in others)], rng)


def prepare_scenes(photos: Sequence[LabelledPhoto], store: PhotoStore, probability: float) -> Scenes:
    """Cut out every photo, about a tenth of a second each on one core; the same result however many there are."""
    cut_outs: dict[int, CutOut] = {}
    members: dict[str, list[int]] = defaultdict(list)
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with progress("cutting out items", len(photos)) as advance, ThreadPoolExecutor(threads) as pool:
        items = pool.map(lambda photo: cut_out(store.training_image(photo.path))[0], photos)
        for index, (photo, item) in enumerate(zip(photos, items, strict=True)):
            if item is not None:
                cut_outs[index] = item
                members[photo.label].append(index)
            advance(1, "")
    same = {index: tuple(members[photos[index].label]) for index in cut_outs}
    return Scenes(cut_outs, same, probability)


def compose(items: Sequence[CutOut], rng: np.random.Generator) -> BgrImage:
    """Items on a background, in a row or anywhere, with shadows: uint8 [H, W, 3] BGR."""
    aspect = float(np.exp(rng.uniform(np.log(0.75), np.log(1.5))))
    height, width = round(_SIDE / aspect**0.5), round(_SIDE * aspect**0.5)
    canvas = background(height, width, rng).astype(np.float32)
    in_row, upright = rng.random(2) < (0.5, 0.6)
    shadow = rng.uniform(0, 0.5) if rng.random() < 0.6 else 0.0
    for number, item in enumerate(items):
        image, alpha = _turned(item, rng, upright=bool(upright))
        place = _in_row if in_row and len(items) > 1 else _anywhere
        x, y, scale = place(number, len(items), alpha.shape[0] / height, alpha.shape[1] / width, rng)
        _put(canvas, _lit(_scaled(image, scale), rng), _scaled(alpha, scale), x * width, y * height, shadow)
    return np.asarray(np.clip(np.rint(canvas), 0, 255), np.uint8)


def _in_row(number: int, count: int, tall: float, wide: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """Centre (x, y) in parts of the canvas, and scale, of an item that is `tall` and `wide` in such parts."""
    scale = min(0.95 / tall, 1.15 / count / wide) * rng.uniform(0.8, 1.0)
    return (number + 0.5) / count, rng.uniform(0.45, 0.6), scale


def _anywhere(
    number: int, count: int, tall: float, wide: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """As `_in_row`; several items overlap."""
    del number
    share = rng.uniform(0.55, 1.0) if count == 1 else rng.uniform(0.75, 1.25) / count**0.5
    room = max(0.0, 1 - share)
    x, y = 0.5 + room * rng.uniform(-0.5, 0.5, 2)
    return float(x), float(y), share * min(1 / tall, 1 / wide)


def _count(rng: np.random.Generator) -> int:
    """Half of the scenes have one item, the others up to nine, few more often than many."""
    if rng.random() < 0.5:
        return 1
    return min(_MOST_ITEMS, 2 + int(rng.exponential(2.0)))


def _turned(
    item: CutOut, rng: np.random.Generator, *, upright: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The item rotated: long side upright, as on a shelf, or by any angle. Image [h, w, 3] and alpha [h, w], 0 to 1."""
    alpha = item.alpha.astype(np.float32) / 255
    if upright:
        (_, _), (box_width, box_height), angle = cv2.minAreaRect(cv2.findNonZero(item.alpha))
        angle += 90.0 if box_width > box_height else 0.0
        angle += rng.normal(0, 4) + (180.0 if rng.random() < 0.5 else 0.0)
    else:
        angle = rng.uniform(0, 360)
    height, width = alpha.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    new_width, new_height = int(np.ceil(height * sin + width * cos)), int(np.ceil(height * cos + width * sin))
    turn[:, 2] += (new_width - width) / 2, (new_height - height) / 2
    size = (new_width, new_height)
    turned = np.asarray(
        cv2.warpAffine(item.image.astype(np.float32), turn, size, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
    outline = np.asarray(cv2.warpAffine(alpha, turn, size), np.float32)
    if rng.random() < 0.5:
        turned, outline = turned[:, ::-1], outline[:, ::-1]
    return _trimmed(turned, outline)


def _trimmed(image: NDArray[np.float32], alpha: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = np.flatnonzero(alpha.max(axis=1) > 0.5), np.flatnonzero(alpha.max(axis=0) > 0.5)
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return image[window], alpha[window]


def _scaled(image: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=way), np.float32)


def _lit(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The item in the light of its new place: brighter and whiter, since the photos were taken in a dim room."""
    contrast = rng.uniform(0.9, 1.4)
    return np.asarray(128 + (image * rng.uniform(0.85, 1.35) - 128) * contrast, np.float32)


def _put(
    canvas: NDArray[np.float32],
    image: NDArray[np.float32],
    alpha: NDArray[np.float32],
    x: float,
    y: float,
    shadow: float,
) -> None:
    """Draw an item centred at (x, y) into the canvas, clipped at its edges, with a soft shadow below."""
    full = np.zeros(canvas.shape[:2], np.float32)
    height, width = alpha.shape
    top, left = round(y - height / 2), round(x - width / 2)
    rows = slice(max(0, top), min(canvas.shape[0], top + height))
    columns = slice(max(0, left), min(canvas.shape[1], left + width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    full[rows, columns] = alpha[inner]
    if shadow:
        spread = max(1.0, 0.03 * canvas.shape[1])
        cast = cv2.GaussianBlur(np.roll(full, round(spread), axis=0), (0, 0), spread)
        canvas *= 1 - shadow * cast[..., None]
    canvas[rows, columns] += full[rows, columns, None] * (np.clip(image[inner], 0, 255) - canvas[rows, columns])
