"""Backgrounds for scenes: white, plain colours, gradients, rooms, planks, noise. Drawn, not photographed.

Web pictures of products stand on white or on something plain; a bin's camera sees whatever is there. Every function
takes a generator and returns uint8 [H, W, 3] BGR, the same for the same generator state.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.images import BgrImage

_Painter = Callable[[int, int, np.random.Generator], NDArray[np.float32]]


def background(height: int, width: int, rng: np.random.Generator) -> BgrImage:
    """A background of a random kind, uint8 [height, width, 3] BGR."""
    kinds = list(_KINDS)
    kind = kinds[int(rng.choice(len(kinds), p=[_KINDS[kind] for kind in kinds]))]
    painted = kind(height, width, rng)
    return np.asarray(np.clip(np.rint(painted), 0, 255), np.uint8)


def white(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Pure or nearly pure white."""
    level = 255.0 if rng.random() < 0.7 else rng.uniform(235, 255)
    return np.full((height, width, 3), level, np.float32)


def plain(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """One colour, from pale to strong, light to black."""
    return np.ones((height, width, 3), np.float32) * _colour(rng)


def gradient(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """From one colour to another along a line or outward from a spot, as studio light does."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        place = np.cos(angle) * x / width + np.sin(angle) * y / height
    else:
        place = np.hypot(x / width - rng.random(), y / height - rng.random())
    place = (place - place.min()) / max(1e-6, float(np.ptp(place)))
    first = _colour(rng)
    second = np.clip(first * rng.uniform(0.5, 1.5), 0, 255) if rng.random() < 0.7 else _colour(rng)
    mixed: NDArray[np.float32] = (first + place[..., None] * (second - first)).astype(np.float32)
    return mixed


def table(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A surface below and a wall above, the border between them soft."""
    border = rng.uniform(0.25, 0.75) * height
    ramp = 1 / (1 + np.exp(-(np.arange(height) - border) / max(1.0, rng.uniform(0.002, 0.05) * height)))
    wall, surface = gradient(height, width, rng), clouds(height, width, rng)
    mixed: NDArray[np.float32] = (wall + ramp[:, None, None] * (surface - wall)).astype(np.float32)
    return mixed


def clouds(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of several scales around a colour: stone, cloth, sand, carpet."""
    field = np.zeros((height, width), np.float32)
    slope = rng.uniform(0.4, 1.1)
    for cells in (3, 6, 12, 25, 50, 100):
        grain = rng.standard_normal((cells, cells)).astype(np.float32)
        field += cells**-slope * cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
    field /= max(1e-6, float(field.std()))
    strength = rng.uniform(3, 40)
    tint = rng.uniform(0.6, 1.4, 3).astype(np.float32)
    return np.asarray(_colour(rng) + strength * field[..., None] * tint, np.float32)


def planks(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Boards or tiles side by side, each of its own shade, with a grain along them."""
    count = int(rng.integers(3, 12))
    shades = rng.normal(1.0, 0.1, count).astype(np.float32)
    position = np.arange(width) * count / width
    shade = shades[np.minimum(position.astype(int), count - 1)]
    joint = np.where(position % 1 < 0.03, rng.uniform(0.4, 0.9), 1.0)
    grain = cv2.resize(rng.standard_normal((4, 80)).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    painted = _colour(rng) * (shade * joint)[None, :, None] + rng.uniform(2, 15) * grain[..., None]
    if rng.random() < 0.5:
        painted = cv2.resize(np.ascontiguousarray(painted.transpose(1, 0, 2)), (width, height))
    return np.asarray(painted, np.float32)


def patches(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Blurred rectangles and discs of many colours: a room out of focus, or clutter."""
    painted = np.ascontiguousarray(gradient(height, width, rng))
    for _ in range(int(rng.integers(5, 25))):
        colour = tuple(float(level) for level in _colour(rng))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        if rng.random() < 0.5:
            cv2.circle(painted, (x, y), int(rng.integers(4, max(5, width // 4))), colour, cv2.FILLED)
        else:
            corner = (x + int(rng.integers(4, max(5, width // 2))), y + int(rng.integers(4, max(5, height // 2))))
            cv2.rectangle(painted, (x, y), corner, colour, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(painted, (0, 0), rng.uniform(0.5, 0.05 * width)), np.float32)


def _colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """BGR: half of them grey or pale, the rest of any saturation."""
    level, saturation = rng.uniform(20, 250), rng.uniform(0, 0.2) if rng.random() < 0.5 else rng.uniform(0, 1)
    hue = rng.dirichlet(np.ones(3)) * 3
    colour: NDArray[np.float32] = np.clip(level * (1 + saturation * (hue - 1)), 0, 255).astype(np.float32)
    return colour


_KINDS: dict[_Painter, float] = {
    white: 0.35,
    plain: 0.12,
    gradient: 0.13,
    table: 0.12,
    clouds: 0.1,
    planks: 0.08,
    patches: 0.1,
}
