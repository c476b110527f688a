"""What moves through a staged bin: items cut from photos and from the built-in scene, hands, lids, shadows; the bin.

A layer says of every pixel how much of what is behind it comes through, and what is added: `behind * through + added`.
A photo of an item on a plain ground gives it without cutting anything out: divided by its own ground it is 1 where
the ground was, and glass, soft edges and the item's own shadow come along. Everything is float32, levels of 0 to 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from device.scene import StoryFrame, builtin_scene_path, read_story
from smartbin.errors import ConfigError
from smartbin.images import BgrImage, read_image

Picture: TypeAlias = NDArray[np.float32]
"""[H, W, 3] BGR."""

WIDTH, HEIGHT = 640, 480
_GROUND_SIZE = (128, 96)
_RING = 0.82  # from here to the border (1), a photo is taken to show its ground
_FIT_ROUNDS = 8
_PLAIN = 10.0  # levels; ground that is further off is no plain ground
_PLAIN_PART = 0.5  # of the ring
_MAX_TINT = 0.3  # lowest channel of the ground below so much of the highest: cardboard that fills the picture
_LEAST_ITEM = 0.04  # part of the photo that must differ from its ground
_QUIET = 0.03  # what differs by less is the ground's own texture
_MOST_ADDED = 1.5
_VIEW_CHANGE = 0.09  # of the mean level, from where on the rendered item is seen
_OPAQUE = 0.12  # a photo that differs by so much from its ground shows its item, or the item's own shadow
_SPECK = 0.003  # of the picture; smaller changes of a view are noise


@dataclass(frozen=True, slots=True)
class Layer:
    """`through` and `added` [480, 640, 3]; `added` None: nothing. Beyond its borders a layer is not there."""

    name: str
    through: Picture
    added: Picture | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a class. `load` makes its layer, which is large, when a film needs it."""

    label: str
    name: str
    load: Callable[[], Layer]


@dataclass(frozen=True, slots=True)
class Bin:
    """An empty bin and the items that fit it."""

    name: str
    empty: Picture
    items: tuple[Item, ...]


def photo_items(paths: Sequence[Path]) -> tuple[Item, ...]:
    """Photos on a plain ground as items, their folders' names their classes; the others are left out.

    `ConfigError` if none is left.
    """
    found = [Item(path.parent.name, path.name, partial(_cut_photo, path)) for path in paths if _cut(path) is not None]
    if not found:
        raise ConfigError(
            "no photo can be staged",
            where=paths[0].parent,
            found=f"{len(paths)} photos",
            expected="items on a plain ground that reaches the border of the photo",
        )
    return tuple(found)


def _cut(path: Path) -> Layer | None:
    return cut_from_ground(path.name, read_image(path))


def _cut_photo(path: Path) -> Layer:
    layer = _cut(path)
    assert layer is not None, "it could be cut before"
    return layer


def cut_from_ground(name: str, photo: BgrImage) -> Layer | None:
    """A photo uint8 [H, W, 3] as a layer; None if it has no plain ground, or hardly anything on it.

    The ground is a quadratic surface a channel, fitted to the bright part of the photo's border and, again and again,
    to what lies near the last fit.
    """
    whole = _fill(photo).astype(np.float32)
    small = cv2.resize(whole, _GROUND_SIZE, interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[-1 : 1 : _GROUND_SIZE[1] * 1j, -1 : 1 : _GROUND_SIZE[0] * 1j].astype(np.float32)
    ring = (np.abs(x) > _RING) | (np.abs(y) > _RING)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    luma = small.mean(axis=2)
    kept = ring & (luma >= np.quantile(luma[ring], 0.4))
    for _ in range(_FIT_ROUNDS):
        shape, *_ = np.linalg.lstsq(terms[kept], small[kept], rcond=None)
        off = np.abs(small - terms @ shape).max(axis=2)
        kept = ring & (off < max(_PLAIN, 2.5 * float(np.median(off[kept]))))
        if kept.sum() < _PLAIN_PART * ring.sum():
            return None
    ground = np.maximum(cv2.resize((terms @ shape).astype(np.float32), (WIDTH, HEIGHT)), 8.0)
    tint = ground.reshape(-1, 3).mean(axis=0)
    if tint.min() < (1 - _MAX_TINT) * tint.max():
        return None
    ratio = whole / ground - 1
    through = np.clip(1 + np.sign(ratio) * np.maximum(np.abs(ratio) - _QUIET, 0), 0, _MOST_ADDED)
    if (np.abs(through - 1).max(axis=2) > 0.1).mean() < _LEAST_ITEM:
        return None
    return Layer(name, np.asarray(through, np.float32))


def panel_bin(seed: int, items: Sequence[Item]) -> Bin:
    """A plain light inside of a bin: panels with seams, screws and stains, darker towards its edges."""
    rng = np.random.default_rng(seed)
    plain = np.full((HEIGHT, WIDTH, 3), rng.uniform(0.58, 0.76), np.float32)
    plain *= 1 + rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    empty = plain.copy()
    for _ in range(2):
        at = int(rng.uniform(0.08, 0.92) * WIDTH)
        cv2.line(empty, (at, 0), (at + int(rng.uniform(-30, 30)), HEIGHT), (0.35, 0.36, 0.37), 3, cv2.LINE_AA)
    at = int(rng.uniform(0.1, 0.9) * HEIGHT)
    cv2.line(empty, (0, at), (WIDTH, at + int(rng.uniform(-20, 20))), (0.4, 0.41, 0.42), 4, cv2.LINE_AA)
    for x, y in itertools.product((0.05, 0.95), (0.06, 0.94)):
        cv2.circle(empty, (int(x * WIDTH), int(y * HEIGHT)), 9, (0.3, 0.3, 0.3), -1, cv2.LINE_AA)
    stains = cv2.resize(rng.normal(0, 1, (12, 16)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    shade = (1 + 0.02 * stains) * (1 - 0.12 * (x * x + y * y))
    lit = np.asarray(cv2.GaussianBlur(empty, (3, 3), 0) * shade[..., None], np.float32)
    ground = np.asarray(plain * shade[..., None], np.float32)
    return Bin(f"panels {seed}", lit, tuple(replace(item, load=partial(_before, ground, item.load)) for item in items))


def _before(ground: Picture, load: Callable[[], Layer]) -> Layer:
    """A layer cut from a photo that hides the seams behind its item, and lets through only the bin's plain ground."""
    layer = load()
    changed = np.abs(layer.through - 1).max(axis=2) > _OPAQUE
    cover = _filled(changed.astype(np.uint8), 9)[..., None]
    return Layer(layer.name, layer.through * (1 - cover), ground * layer.through * cover)


def scene_bins() -> tuple[Bin, ...]:
    """The built-in scene's views, one for each light that items come in, with these items."""
    story, folder = read_story(builtin_scene_path()), builtin_scene_path()

    def mean(frames: Sequence[StoryFrame]) -> Picture:
        pictures = [_fill(read_image(folder / frame.file)).astype(np.float32) / 255 for frame in frames]
        return np.asarray(np.mean(pictures, axis=0), np.float32)

    places: dict[tuple[str, float], list[StoryFrame]] = {}
    for frame in story.frames:
        places.setdefault((frame.view, frame.light_scale), []).append(frame)
    found = []
    for (view, light), frames in places.items():
        staying = [frame for frame in frames if frame.phase == "staying"]
        if not staying:
            continue
        empty = mean([frame for frame in frames if frame.phase == "empty"])
        items = []
        for (item, label), visit in itertools.groupby(staying, key=lambda frame: (frame.item, frame.label)):
            assert item is not None, "what stays is an item"
            assert label is not None, "items have a class"
            items.append(Item(label, item, partial(cut_from_view, item, empty, mean(list(visit)))))
        found.append(Bin(f"view {view} at {light:g} of the light", empty, tuple(items)))
    return tuple(found)


def cut_from_view(name: str, empty: Picture, picture: Picture) -> Layer:
    """What `picture` shows beyond the `empty` view, with a soft rim, as a layer that hides what is behind it."""
    change = cv2.GaussianBlur(np.abs(picture - empty).max(axis=2), (0, 0), 2)
    return covering(name, picture, _filled((change > _VIEW_CHANGE * float(empty.mean())).astype(np.uint8), 25))


def _filled(changed: NDArray[np.uint8], gap: int) -> NDArray[np.float32]:
    """What lies within the outlines of a mask [H, W], gaps closed, specks left out, with a soft rim."""
    closed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    large = [outline for outline in outlines if cv2.contourArea(outline) > _SPECK * WIDTH * HEIGHT]
    cover = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.drawContours(cover, large, -1, 1.0, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), 2), np.float32)


def covering(name: str, picture: Picture, cover: NDArray[np.float32]) -> Layer:
    """A layer that shows `picture` [H, W, 3] where `cover` [H, W] is 1."""
    alpha = np.asarray(np.repeat(cover[..., None], 3, axis=2), np.float32)
    return Layer(name, 1 - alpha, np.asarray(picture * alpha, np.float32))


def hand(seed: int) -> Layer:
    """An arm in a sleeve that reaches in from the right, its fingertips in the middle of the picture."""
    rng = np.random.default_rng(seed)
    skin = np.array([0.42, 0.52, 0.72], np.float32) * rng.uniform(0.45, 1.05)
    sleeve = rng.uniform(0.08, 0.6, 3)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    cover = np.zeros((HEIGHT, WIDTH), np.float32)

    def stroke(start: tuple[float, float], end: tuple[float, float], thick: int, colour: NDArray[np.float32]) -> None:
        begin, stop = ((int(x * WIDTH), int(y * HEIGHT)) for x, y in (start, end))
        for shrink, light in ((1.0, 0.75), (0.8, 0.9), (0.5, 1.0)):  # rounder than a flat stroke
            shade = tuple(float(value) for value in colour * light)
            cv2.line(picture, begin, stop, shade, max(1, int(thick * shrink)), cv2.LINE_AA)
        cv2.line(cover, begin, stop, 1.0, thick, cv2.LINE_AA)

    stroke((1.1, 0.62), (0.83, 0.58), 120, np.asarray(sleeve, np.float32))
    stroke((0.86, 0.585), (0.76, 0.56), 84, skin)
    stroke((0.76, 0.54), (0.70, 0.56), 116, skin)
    for number, reach in enumerate((0.55, 0.51, 0.52, 0.56)):
        stroke((0.70, 0.47 + 0.06 * number), (reach, 0.45 + 0.055 * number), 26, np.asarray(skin * 1.05, np.float32))
    stroke((0.72, 0.45), (0.60, 0.36), 32, skin)
    soft = np.asarray(cv2.GaussianBlur(picture, (5, 5), 0), np.float32)
    return covering("hand", soft, np.asarray(cv2.GaussianBlur(cover, (3, 3), 0), np.float32))


def lid(seed: int) -> Layer:
    """A dark board as large as the picture."""
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH, 3), rng.uniform(0.08, 0.3), np.float32)
    for at in range(40, WIDTH, 120):
        cv2.line(picture, (at, 0), (at, HEIGHT), (0.05, 0.05, 0.05), 4, cv2.LINE_AA)
    return Layer("lid", np.zeros((HEIGHT, WIDTH, 3), np.float32), picture)


def shadow(seed: int) -> Layer:
    """A soft shadow, as a person throws one who leans over: half a picture wide, its rim a tenth of that."""
    rng = np.random.default_rng(seed)
    cover = np.zeros((HEIGHT, WIDTH), np.float32)
    axes = (int(WIDTH * rng.uniform(0.18, 0.3)), int(HEIGHT * rng.uniform(0.25, 0.45)))
    cv2.ellipse(cover, (WIDTH // 2, HEIGHT // 2), axes, rng.uniform(0, 90), 0, 360, 1.0, cv2.FILLED)
    depth = rng.uniform(0.25, 0.5)
    soft = 1 - depth * cv2.GaussianBlur(cover, (0, 0), rng.uniform(14, 30))
    return Layer("shadow", np.asarray(np.repeat(soft[..., None], 3, axis=2), np.float32))


def _fill(image: BgrImage) -> BgrImage:
    """The middle of a picture at 640 x 480."""
    height, width = image.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    size = (max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (size[1] - HEIGHT) // 2, (size[0] - WIDTH) // 2
    return np.ascontiguousarray(resized[top : top + HEIGHT, left : left + WIDTH], np.uint8)
