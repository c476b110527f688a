"""Rendered items that belong into no class: fruit, toys, household things on a light ground, lit and with a shadow.

An item is flat shapes painted over each other; each bulges like a cushion, which gives it normals to light by. They are
no photographs, but laid out as the training photos are: one thing, alone, on a plain ground. Drawn in a square of 240
pixels around its centre, then turned, scaled and placed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.images import BgrImage
from train.report.outside_textures import smooth_noise

SIDE = 240
_USUAL_HEIGHT = 288  # pixels of a picture in which an item has its own size
_MIDDLE = SIDE // 2
Bgr: TypeAlias = tuple[int, int, int]
Points: TypeAlias = Sequence[tuple[float, float]]


@dataclass(slots=True)
class Sculpture:
    """Colour [S, S, 3], height [S, S] in pixels and cover [S, S] (0 or 1) of what has been put on so far."""

    colour: NDArray[np.float32] = field(default_factory=lambda: np.zeros((SIDE, SIDE, 3), np.float32))
    height: NDArray[np.float32] = field(default_factory=lambda: np.zeros((SIDE, SIDE), np.float32))
    cover: NDArray[np.float32] = field(default_factory=lambda: np.zeros((SIDE, SIDE), np.float32))

    def put(self, mask: NDArray[np.uint8], colour: Bgr, bulge: float = 0.0, lift: float = 0.0) -> None:
        """Put a shape on: `bulge` pixels high in its middle, the whole of it `lift` above what is below."""
        inside = mask > 0
        distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
        reach = max(1.0, float(distance.max()))
        cushion = bulge * np.sqrt(np.clip(1 - (1 - distance / reach) ** 2, 0, 1))
        self.height[inside] = (self.height + lift + cushion)[inside]
        self.colour[inside] = colour
        self.cover[inside] = 1

    def dot(self, x: float, y: float, radius: float, colour: Bgr, bulge: float = 0.0) -> None:
        """Put a disc on, (x, y) from the middle."""
        self.put(ellipse(radius, radius, x, y), colour, bulge)


def blank() -> NDArray[np.uint8]:
    """An empty mask."""
    return np.zeros((SIDE, SIDE), np.uint8)


def ellipse(a: float, b: float, x: float = 0, y: float = 0, turn: float = 0) -> NDArray[np.uint8]:
    """Mask of an ellipse with half axes a and b, (x, y) from the middle, turned by degrees."""
    axes = (max(1, round(a)), max(1, round(b)))
    centre = (round(_MIDDLE + x), round(_MIDDLE + y))
    return np.asarray(cv2.ellipse(blank(), centre, axes, turn, 0, 360, 1, -1), np.uint8)


def polygon(points: Points) -> NDArray[np.uint8]:
    """Mask of a polygon, points from the middle."""
    return np.asarray(cv2.fillPoly(blank(), [_pixels(points)], 1), np.uint8)


def stroke(points: Points, thickness: float) -> NDArray[np.uint8]:
    """Mask of a thick line through points from the middle, with round ends."""
    return np.asarray(cv2.polylines(blank(), [_pixels(points)], False, 1, max(1, round(thickness))), np.uint8)


def box(width: float, height: float, x: float = 0, y: float = 0, corner: float = 0) -> NDArray[np.uint8]:
    """Mask of a rectangle with rounded corners, its middle at (x, y)."""
    a, b = width / 2 - corner, height / 2 - corner
    mask = polygon([(x - a, y - b), (x + a, y - b), (x + a, y + b), (x - a, y + b)])
    if corner >= 1:
        side = 2 * round(corner) + 1
        mask = np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))), np.uint8)
    return mask


def render_item(name: str, view: int, height: int, width: int) -> BgrImage:
    """The item `name` of `ITEMS`; another `view`: other colours, turn, size, place, light and ground."""
    rng = np.random.default_rng([*name.encode(), view])
    sculpture = Sculpture()
    ITEMS[name](sculpture, rng)
    lit = _light(sculpture, rng)
    scale = rng.uniform(0.75, 1.25) * height / _USUAL_HEIGHT
    matrix = cv2.getRotationMatrix2D((_MIDDLE, _MIDDLE), rng.uniform(0, 360), scale)
    matrix[0, 2] += width / 2 - _MIDDLE + rng.uniform(-40, 40)
    matrix[1, 2] += height / 2 - _MIDDLE + rng.uniform(-20, 20)
    item = cv2.warpAffine(lit, matrix, (width, height), flags=cv2.INTER_AREA)
    cover = cv2.warpAffine(sculpture.cover, matrix, (width, height), flags=cv2.INTER_LINEAR)[:, :, None]
    image = _ground(np.asarray(cover[:, :, 0], np.float32), rng, height, width) * (1 - cover) + item * cover
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.1))
    image = blurred + 2.5 * rng.standard_normal((height, width, 3), dtype=np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _light(sculpture: Sculpture, rng: np.random.Generator) -> NDArray[np.float32]:
    """Lambert's law with a highlight, from a random side above: float32 [S, S, 3]."""
    rough = sculpture.height + 0.25 * rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 1.2)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8
    length = np.sqrt(across**2 + down**2 + 1)
    angle, rise = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.6)
    towards = np.array([np.cos(angle), np.sin(angle), rise]) / np.hypot(1, rise)
    x, y, z = (float(value) for value in towards)
    facing = np.clip((-across * x - down * y + z) / length, 0, 1)
    shine = float(rng.uniform(0, 90)) * facing ** float(rng.uniform(12, 40))
    mottle = 0.92 + 0.16 * smooth_noise(rng, SIDE, SIDE, 9)
    return np.asarray(sculpture.colour * ((0.35 + 0.75 * facing) * mottle)[:, :, None] + shine[:, :, None], np.float32)


def _ground(cover: NDArray[np.float32], rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A light, nearly plain surface with the item's soft shadow: float32 [H, W, 3]."""
    tint = (rng.uniform(165, 235) + rng.uniform(-12, 12, 3)).astype(np.float32)
    shade = 0.9 + 0.12 * smooth_noise(rng, height, width, 220)
    moved = np.array([[1, 0, rng.uniform(-14, 14)], [0, 1, rng.uniform(-14, 14)]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(cover, moved, (width, height)), (0, 0), rng.uniform(5, 12))
    return np.asarray(tint * (shade * (1 - float(rng.uniform(0.25, 0.5)) * shadow))[:, :, None], np.float32)


def _pixels(points: Points) -> NDArray[np.int32]:
    return np.asarray([(round(_MIDDLE + x), round(_MIDDLE + y)) for x, y in points], np.int32)


def _vary(rng: np.random.Generator, colour: Bgr, spread: int = 18) -> Bgr:
    """The colour, a little different each time."""
    blue, green, red = (int(np.clip(value + rng.integers(-spread, spread + 1), 0, 255)) for value in colour)
    return blue, green, red


def _apple(on: Sculpture, rng: np.random.Generator) -> None:
    flesh = _vary(rng, (40, 45, 190) if rng.random() < 0.5 else (60, 190, 140))
    on.put(ellipse(62, 58, -14) | ellipse(62, 58, 14), flesh, 55)
    on.put(stroke([(0, -45), (8, -80)], 7), (40, 60, 80), 4)
    on.put(ellipse(24, 10, 30, -76, -25), _vary(rng, (50, 140, 60)), 5)


def _orange(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(ellipse(70, 68), _vary(rng, (20, 130, 240)), 62)
    on.height += 1.5 * smooth_noise(rng, SIDE, SIDE, 4) * on.cover
    on.dot(4, -6, 5, (40, 90, 60))


def _banana(on: Sculpture, rng: np.random.Generator) -> None:
    angles = np.linspace(0.15 * np.pi, 0.85 * np.pi, 24)
    arc = [(95 * np.cos(angle), 95 * np.sin(angle) - 70) for angle in angles]
    on.put(stroke(arc, 38), _vary(rng, (60, 215, 245)), 19)
    on.put(stroke(arc[:2], 18) | stroke(arc[-2:], 18), (40, 70, 90), 4)


def _egg(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(ellipse(58, 50, 8) | ellipse(76, 44), _vary(rng, (175, 200, 228)), 48)


def _carrot(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(polygon([(-100, 0), (60, -26), (74, 0), (60, 26)]), _vary(rng, (20, 110, 235)), 24)
    for turn in (-26, 0, 26):
        on.put(ellipse(34, 8, 98, turn, turn), _vary(rng, (50, 150, 70)), 5)


def _strawberry(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(polygon([(-58, -40), (58, -40), (44, 20), (0, 84), (-44, 20)]) | ellipse(56, 30, 0, -36), (50, 35, 205), 44)
    for x, y in rng.uniform((-40, -35), (40, 35), (26, 2)):
        on.dot(float(x), float(y), 3, (110, 200, 235))
    for turn in range(0, 180, 36):
        on.put(ellipse(36, 8, 0, -60, turn), _vary(rng, (50, 150, 60)), 4)


def _leaf(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(ellipse(96, 44), _vary(rng, (50, 150, 70), 40), 5)
    for x in range(-75, 90, 22):
        on.put(stroke([(x, 0), (x + 18, -32)], 2) | stroke([(x, 0), (x + 18, 32)], 2), (60, 120, 60), 1)
    on.put(stroke([(-112, 0), (92, 0)], 4), (70, 140, 90), 2)


def _daisy(on: Sculpture, rng: np.random.Generator) -> None:
    petal = _vary(rng, (150, 90, 220), 80)
    for turn in np.linspace(0, 2 * np.pi, 9)[:-1]:
        place = (52 * np.cos(turn), 52 * np.sin(turn))
        on.put(ellipse(46, 20, place[0], place[1], float(np.degrees(turn))), petal, 12)
    on.dot(0, 0, 26, (40, 190, 240), 14)


def _tennis_ball(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(ellipse(68, 68), _vary(rng, (60, 230, 200)), 62)
    for side in (-1, 1):
        seam = cv2.ellipse(blank(), (_MIDDLE + side * 78, _MIDDLE), (56, 56), 0, 0, 360, 1, 5)
        on.put(np.asarray(seam, np.uint8) & ellipse(67, 67), (230, 240, 240))


def _beach_ball(on: Sculpture, rng: np.random.Generator) -> None:
    disc = ellipse(80, 80)
    on.put(disc, (235, 235, 235), 72)
    for sector in range(0, 6, 2):
        angles = np.linspace(sector, sector + 1, 12) * np.pi / 3
        fan = polygon([(0.0, 0.0), *((110 * np.cos(angle), 110 * np.sin(angle)) for angle in angles)])
        on.put(np.asarray(fan & disc, np.uint8), _vary(rng, (120, 90, 140), 110))


def _die(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(box(120, 120, corner=16), _vary(rng, (215, 225, 230)), 16)
    spots = [(-32, -32), (32, 32), (-32, 32), (32, -32), (0, 0), (-32, 0)]
    for x, y in spots[: int(rng.integers(1, 7))]:
        on.dot(x, y, 12, (30, 30, 40))


def _brick_toy(on: Sculpture, rng: np.random.Generator) -> None:
    colour = _vary(rng, (60, 60, 200), 60)
    on.put(box(180, 92, corner=4), colour, 8)
    for x in (-66, -22, 22, 66):
        for y in (-22, 22):
            on.dot(x, y, 15, colour, 9)


def _hand(on: Sculpture, rng: np.random.Generator) -> None:
    skin = _vary(rng, (130, 165, 215) if rng.random() < 0.6 else (60, 85, 130))
    mask = box(78, 84, 0, 30, corner=24) | stroke([(0, 60), (0, 118)], 54)
    for x, top in ((-30, -62), (-9, -84), (12, -78), (32, -52)):
        mask |= stroke([(x, 10), (x * 1.25, top)], 20)
    on.put(np.asarray(mask | stroke([(26, 50), (78, 6)], 22), np.uint8), skin, 16)


def _sock(on: Sculpture, rng: np.random.Generator) -> None:
    cloth, stripe = _vary(rng, (120, 110, 120), 90), _vary(rng, (200, 200, 200), 50)
    leg = stroke([(-40, -90), (-40, 50), (40, 70)], 58)
    on.put(leg, cloth, 10)
    for y in range(-90, 20, 24):
        on.put(np.asarray(leg & box(70, 9, -40, y), np.uint8), stripe)
    on.height += 1.5 * smooth_noise(rng, SIDE, SIDE, 3) * on.cover


def _pencil(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(box(150, 20), _vary(rng, (40, 170, 230), 50), 9)
    on.put(polygon([(75, -10), (112, 0), (75, 10)]), (150, 195, 225), 8)
    on.put(polygon([(100, -4), (114, 0), (100, 4)]), (40, 40, 40), 3)
    on.put(box(20, 20, -84), (150, 130, 230), 9)


def _sponge(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(box(170, 100, corner=8), _vary(rng, (70, 210, 245)), 9)
    for x, y in rng.uniform((-78, -44), (78, 44), (70, 2)):
        on.dot(float(x), float(y), float(rng.uniform(1, 4)), (40, 150, 190))
    on.put(box(170, 26, 0, 40, corner=8), _vary(rng, (70, 130, 40)), 6)


def _bread(on: Sculpture, rng: np.random.Generator) -> None:
    slice_ = box(128, 120, 0, 14, corner=14) | ellipse(78, 40, 0, -40)
    on.put(slice_, _vary(rng, (50, 100, 160)), 8)
    on.put(np.asarray(cv2.erode(slice_, np.ones((15, 15), np.uint8)), np.uint8), _vary(rng, (150, 205, 235)))
    on.height -= 2.5 * (smooth_noise(rng, SIDE, SIDE, 6) > 0.7) * on.cover


def _plate(on: Sculpture, rng: np.random.Generator) -> None:
    on.put(ellipse(104, 104), _vary(rng, (215, 215, 215)), 8)
    on.put(np.asarray(ellipse(98, 98) & ~ellipse(94, 94) & 1, np.uint8), _vary(rng, (170, 90, 60), 60))
    on.put(ellipse(66, 66), (226, 228, 228), -6)


ITEMS: Mapping[str, Callable[[Sculpture, np.random.Generator], None]] = MappingProxyType(
    {
        "apple": _apple,
        "orange": _orange,
        "banana": _banana,
        "egg": _egg,
        "carrot": _carrot,
        "strawberry": _strawberry,
        "leaf": _leaf,
        "daisy": _daisy,
        "tennis ball": _tennis_ball,
        "beach ball": _beach_ball,
        "die": _die,
        "toy brick": _brick_toy,
        "hand": _hand,
        "sock": _sock,
        "pencil": _pencil,
        "sponge": _sponge,
        "bread": _bread,
        "plate": _plate,
    }
)
