"""Drawn photos that differ as much as real ones do, for everything that looks for photos that do not."""

from __future__ import annotations

import cv2
import numpy as np

from smartbin.images import BgrImage


def scene(seed: int) -> BgrImage:
    """Blurred shapes on a ground with a gradient, as unlike as photos are: uint8 [192, 256, 3] BGR."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 60, 256)[None, :, None] * rng.uniform(-1, 1) + rng.uniform(90, 170, 3)
    image = np.broadcast_to(ramp, (192, 256, 3)).clip(0, 255).astype(np.uint8).copy()
    for _ in range(14):
        centre = (int(rng.integers(256)), int(rng.integers(192)))
        axes = (int(rng.integers(8, 60)), int(rng.integers(8, 40)))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.ellipse(image, centre, axes, float(rng.integers(180)), 0, 360, colour, -1)
    return np.asarray(cv2.GaussianBlur(image, (5, 5), 0), np.uint8)


def item(seed: int, colour: tuple[int, int, int]) -> BgrImage:
    """A scene whose shapes all have nearly one colour (BGR): its class can be told by it."""
    rng = np.random.default_rng(seed)
    image = np.full((192, 256, 3), int(rng.integers(170, 200)), np.uint8)
    for _ in range(12):
        centre = (int(rng.integers(256)), int(rng.integers(192)))
        axes = (int(rng.integers(15, 60)), int(rng.integers(8, 40)))
        shade = tuple(int(np.clip(value + rng.integers(-25, 25), 0, 255)) for value in colour)
        cv2.ellipse(image, centre, axes, float(rng.integers(180)), 0, 360, shade, -1)
    return np.asarray(image, np.uint8)
