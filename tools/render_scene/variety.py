"""Other settings for the scene's items, at random: camera, ground, lamps and pose, for pictures to train on.

In: a seed. Out: a `Look`. No renderer here; called by the command line, rendered by `stage`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tools.render_scene.paint import Array8, cloud
from tools.render_scene.plan import Lamps, View

_GROUND_SIDE = 512


@dataclass(frozen=True, slots=True)
class Look:
    """A view of an item. `ground` is a picture uint8 [S, S, 3] RGB for the tray."""

    seed: int
    view: View
    turn_degrees: float
    place_cm: tuple[float, float]
    ground: Array8
    lamps: Lamps
    warmth: float
    """Of the camera's white balance, see `sensor.expose`."""


def random_look(seed: int) -> Look:
    """The same seed gives the same look."""
    rng = np.random.default_rng(seed)
    around, above = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(35, 85))
    distance = rng.uniform(36, 50)
    eye = distance * np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)])
    warm, usual = rng.normal(0, 0.12), Lamps()
    return Look(
        seed=seed,
        view=View((float(eye[0]), float(eye[1]), float(eye[2])), (0.0, 0.0, 1.0), float(rng.uniform(42, 72))),
        turn_degrees=float(rng.uniform(0, 360)),
        place_cm=(float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5))),
        ground=random_ground(rng),
        lamps=Lamps(
            left=float(usual.left * 2 ** rng.uniform(-2, 0.5)),
            right=float(usual.right * 2 ** rng.uniform(-2, 1)),
            panel=float(usual.panel * 2 ** rng.uniform(-1, 2)),
            room=float(usual.room * 2 ** rng.uniform(-1, 1)),
            tint=(float(2**warm), 1.0, float(2**-warm)),
        ),
        warmth=float(rng.normal(0, 0.04)),
    )


def random_ground(rng: np.random.Generator) -> Array8:
    """Plain, grained like wood, speckled like stone, or tiled; any brightness, mostly pale colours."""
    hue, saturation, value = rng.uniform(0, 180), 255 * rng.beta(1.2, 3.5), 255 * rng.uniform(0.15, 0.95)
    hsv = np.array([[[hue, saturation, value]]], np.uint8)
    base = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)
    seed, side = int(rng.integers(1 << 30)), _GROUND_SIDE
    shade = 0.03 * cloud(side, side, seed, 0.5)
    kind = rng.choice(["plain", "grain", "speckle", "tiles"])
    if kind == "grain":
        narrow = cloud(side, side // 16, seed + 1, 0.5)
        shade += rng.uniform(0.05, 0.15) * cv2.resize(narrow, (side, side)).T
    elif kind == "speckle":
        shade += rng.uniform(0.05, 0.25) * cloud(side, side, seed + 1, 0.015, 3)
    elif kind == "tiles":
        pitch = int(rng.integers(40, 160))
        rows, columns = np.mgrid[:side, :side] // pitch
        shade += rng.uniform(0.03, 0.15) * ((rows + columns) % 2)
        lines = (np.mgrid[:side, :side] % pitch < 4).any(axis=0)
        shade -= rng.uniform(0.1, 0.4) * lines
    return np.asarray(np.clip(base * (1 + shade[..., None]), 0, 255), np.uint8)
