"""Procedural pictures without an item: noise, gradients, patterns. Each follows from its name and a view number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.images import BgrImage

Field: TypeAlias = NDArray[np.float32]
"""float32 [H, W], about 0 to 1."""
Draw: TypeAlias = Callable[[np.random.Generator, int, int], NDArray[np.float32]]
"""A generator, height and width to an image float32 [H, W, 3], 0 to 255."""


def draw_texture(name: str, view: int, height: int, width: int) -> BgrImage:
    """The texture `name` of `TEXTURES`; another `view`, other colours, scale and direction."""
    rng = np.random.default_rng([*name.encode(), view])
    noise = rng.standard_normal((height, width, 1), dtype=np.float32)
    image = TEXTURES[name](rng, height, width) + 2 * noise
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> Field:
    """Random blobs about `cell` pixels wide, 0 to 1."""
    shape = (max(2, round(height / cell) + 1), max(2, round(width / cell) + 1))
    small = rng.random(shape, dtype=np.float32)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(large, 0, 1), np.float32)


def fractal_noise(rng: np.random.Generator, height: int, width: int) -> Field:
    """Blobs of all sizes, each half as strong as the next larger: clouds, plaster. 0 to 1."""
    total, weight = np.zeros((height, width), np.float32), 0.0
    for octave in range(6):
        total += smooth_noise(rng, height, width, 128 / 2**octave) / 2**octave
        weight += 1 / 2**octave
    return np.asarray(total / weight, np.float32)


def colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """A random colour, float32 [3], not nearly black."""
    return np.asarray(rng.uniform(25, 245, 3), np.float32)


def mix(rng: np.random.Generator, field: Field) -> NDArray[np.float32]:
    """Two random colours, mixed as the field says: [H, W, 3]."""
    first, second = colour(rng), colour(rng)
    return np.asarray(first + (second - first) * field[:, :, None], np.float32)


def _along(rng: np.random.Generator, height: int, width: int) -> Field:
    """Distance in pixels along a random direction."""
    angle = rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(columns * np.cos(angle) + rows * np.sin(angle), np.float32)


def _white_noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    return np.asarray(255 * rng.random((height, width, 3), dtype=np.float32), np.float32)


def _blobs(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    cell = rng.uniform(6, 60)
    planes = [smooth_noise(rng, height, width, cell) for _ in range(3)]
    return np.asarray(np.stack(planes, axis=2) * 255, np.float32)


def _clouds(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    field = fractal_noise(rng, height, width)
    return mix(rng, np.clip((field - 0.3) * 2.5, 0, 1))


def _stripes(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    wave = np.sin(_along(rng, height, width) * 2 * np.pi / rng.uniform(8, 70))
    return mix(rng, np.asarray(wave > 0, np.float32) if rng.random() < 0.5 else (wave + 1) / 2)


def _checks(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    side = rng.integers(10, 60)
    rows, columns = np.mgrid[:height, :width] // side
    return mix(rng, np.asarray((rows + columns) % 2, np.float32))


def _gradient(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    field = _along(rng, height, width)
    return mix(rng, (field - field.min()) / np.ptp(field))


def _plain(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    shade = 0.9 + 0.1 * smooth_noise(rng, height, width, 200)
    return np.asarray(colour(rng) * shade[:, :, None], np.float32)


def _cells(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Voronoi cells of random colours."""
    count = int(rng.integers(15, 150))
    seeds = np.ones((height, width), np.uint8)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = rng.uniform(20, 245, (int(labels.max()) + 1, 3)).astype(np.float32)
    return np.asarray(colours[labels], np.float32)


def _rings(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Rings around a point outside, wobbling: cut wood."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(columns + rng.uniform(0, 200), rows - rng.uniform(0, height))
    wobble = 60 * smooth_noise(rng, height, width, 90)
    field = (np.sin((distance + wobble) * 2 * np.pi / rng.uniform(10, 40)) + 1) / 2
    brown = np.array([40, 80, 140], np.float32) * rng.uniform(0.7, 1.4)
    return np.asarray(brown * (0.75 + 0.35 * field[:, :, None]), np.float32)


def _tiles(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Tiles with joints, each a little different."""
    rows_px, columns_px = int(rng.integers(30, 90)), int(rng.integers(40, 120))
    rows, columns = np.mgrid[:height, :width]
    shade = rng.uniform(0.8, 1.1, (height // rows_px + 2, width // columns_px + 2)).astype(np.float32)
    image = colour(rng) * shade[rows // rows_px, columns // columns_px][:, :, None]
    image[((rows % rows_px) < 4) | ((columns % columns_px) < 4)] = rng.uniform(60, 220)
    return np.asarray(image, np.float32)


def _weave(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Threads crossing: cloth."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    step = 2 * np.pi / rng.uniform(5, 14)
    over = np.sin(rows * step) * np.sin(columns * step) > 0
    field = np.where(over, (np.sin(rows * step) + 1) / 2, (np.sin(columns * step) + 1) / 2)
    return mix(rng, np.asarray(field, np.float32)) * (0.8 + 0.2 * smooth_noise(rng, height, width, 80)[:, :, None])


def _blades(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Grass: hundreds of short strokes."""
    image = np.full((height, width, 3), (30, 60, 40), np.uint8)
    feet = rng.integers((0, 0), (width, height), (1600, 2))
    tips = feet + rng.integers((-9, -30), (10, -8), (1600, 2))
    colours = rng.integers((20, 90, 30), (90, 210, 130), (1600, 3)).tolist()
    for foot, tip, blade in zip(feet.tolist(), tips.tolist(), colours, strict=True):
        cv2.line(image, foot, tip, blade, 1)
    return np.asarray(image, np.float32)


TEXTURES: Mapping[str, Draw] = MappingProxyType(
    {
        "white noise": _white_noise,
        "blobs": _blobs,
        "clouds": _clouds,
        "stripes": _stripes,
        "checks": _checks,
        "gradient": _gradient,
        "plain": _plain,
        "cells": _cells,
        "rings": _rings,
        "tiles": _tiles,
        "weave": _weave,
        "blades": _blades,
    }
)
