"""Brushes for labels and prints: lettering, barcodes, paper fibre, kraft, halftone pictures. All drawn by code, with
a seed.

In: sizes in pixels and colours as 0..255 RGB. Out: uint8 arrays. Called by `art`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Array8 = NDArray[np.uint8]

SENTENCES = (
    "The council opened the new footbridge on Monday after nine months of work on the east bank.",
    "Growers along the valley expect a late harvest, and say that the rain came just in time.",
    "A ferry to the outer islands now leaves twice a day, at seven and at a quarter past three.",
    "Visitors may bring their own cups; the water from the old spring is free for everyone.",
    "The repair shop in Mill Lane mends lamps, radios and bicycles, and asks only for the parts.",
    "Choir practice moves to the library hall until the roof of the school has been made good.",
    "Bread prices held steady for the third month, the market board said in its weekly note.",
)


class Canvas:
    """A picture to draw on, in pixels; `art` reads `image` when it is done."""

    def __init__(self, width: int, height: int, colour: Colour) -> None:
        self.image = Image.new("RGB", (width, height), colour)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self,
        at: tuple[float, float],
        words: str,
        size: float,
        colour: Colour,
        *,
        bold: float = 0,
        anchor: str = "mm",
        squeeze: float = 1.0,
        slant: float = 0.0,
        turn: float = 0.0,
    ) -> None:
        """Letters round `at`; bold in parts of the size, squeeze < 1 narrows, slant leans right, turn is degrees
        anticlockwise.
        """
        font = ImageFont.load_default(size)
        stroke = round(bold * size)
        box = self.draw.textbbox((0, 0), words, font=font, stroke_width=stroke)
        width, height = int(box[2] - box[0]) + 4, int(box[3] - box[1]) + 4
        mask = Image.new("L", (width, height), 0)
        ImageDraw.Draw(mask).text((2 - box[0], 2 - box[1]), words, font=font, fill=255, stroke_width=stroke)
        lean = abs(slant) * height
        mask = mask.transform(
            (int(width + lean), height), Image.Transform.AFFINE, (1, slant, -lean, 0, 1, 0), Image.Resampling.BICUBIC
        )
        mask = mask.resize((max(1, int(mask.width * squeeze)), height), Image.Resampling.LANCZOS)
        mask = mask.rotate(turn, expand=True, resample=Image.Resampling.BICUBIC)
        left = {"l": 0.0, "m": mask.width / 2, "r": float(mask.width)}[anchor[0]]
        self.image.paste(Image.new("RGB", mask.size, colour), (int(at[0] - left), int(at[1] - mask.height / 2)), mask)

    def paragraph(self, box: tuple[float, float, float, float], size: float, colour: Colour, seed: int) -> None:
        """Fills box (left, top, right, bottom) with running text."""
        rng = np.random.default_rng(seed)
        font = ImageFont.load_default(size)
        words = " ".join(SENTENCES[i] for i in rng.permutation(len(SENTENCES)).tolist() * 8).split()
        left, y, right, bottom = box
        at = 0
        while y + size < bottom:
            line = ""
            while at < len(words) and self.draw.textlength(line + words[at], font=font) < right - left:
                line += words[at] + " "
                at += 1
            if at >= len(words):
                return
            if rng.random() < 0.07:
                line = line[: len(line) // 2]
            self.draw.text((left, y), line, font=font, fill=colour)
            y += size * 1.22

    def barcode(self, box: tuple[float, float, float, float], seed: int, *, upright: bool = True) -> None:
        """Black bars on a white field."""
        rng = np.random.default_rng(seed)
        self.draw.rectangle(box, fill=(250, 250, 248))
        left, top, right, bottom = box
        span = (right - left) if upright else (bottom - top)
        unit = span / 62
        at = 4 * unit
        while at < span - 5 * unit:
            bar = unit * float(rng.integers(1, 4))
            if upright:
                self.draw.rectangle((left + at, top + 4, left + at + bar, bottom - 4), fill=(15, 15, 18))
            else:
                self.draw.rectangle((left + 4, top + at, right - 4, top + at + bar), fill=(15, 15, 18))
            at += bar + unit * float(rng.integers(1, 3))

    def leaf(self, at: tuple[float, float], size: float, turn: float, colour: Colour) -> None:
        """A pointed oval, for hops, fruit leaves and petals."""
        t = np.linspace(0, 1, 24)
        half = np.sin(np.pi * t) ** 1.2 * 0.32
        outline = np.r_[np.stack([t - 0.5, half], 1), np.stack([t[::-1] - 0.5, -half[::-1]], 1)] * size
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        points = outline @ np.array([[c, s], [-s, c]]) + np.array(at)
        self.draw.polygon([(float(x), float(y)) for x, y in points], fill=colour)

    def array(self) -> Array8:
        """The picture, uint8 [H, W, 3] RGB."""
        return np.asarray(self.image, np.uint8)


def cloud(height: int, width: int, seed: int, coarsest: float = 0.5, octaves: int = 6) -> NDArray[np.float32]:
    """Fractal noise, float32 [H, W], mean 0, deviation 1; `coarsest` is the largest feature in parts of the width."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cell = max(1.0, width * coarsest / 2**octave)
        small = rng.normal(size=(max(2, int(height / cell) + 2), max(2, int(width / cell) + 2))).astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return np.asarray((total - total.mean()) / total.std(), np.float32)


def shaded(picture: Array8, amount: NDArray[np.float32]) -> Array8:
    """The picture with each pixel's brightness multiplied by 1 + amount [H, W]."""
    return np.asarray(np.clip(picture.astype(np.float32) * (1 + amount[..., None]), 0, 255), np.uint8)


def kraft(width: int, height: int, seed: int, pixels_per_flute: float = 0.0) -> Array8:
    """Brown board: mottled, with dark and light fibres, and faint flute lines along y where asked for."""
    rng = np.random.default_rng(seed)
    base = np.empty((height, width, 3), np.uint8)
    base[:] = (184, 146, 102)
    fibres = np.zeros((height, width), np.float32)
    for _ in range(width * height // 500):
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.normal(0, 0.6)
        length = rng.uniform(4, 18)
        end = (int(x + length * np.cos(angle)), int(y + length * np.sin(angle)))
        cv2.line(fibres, (int(x), int(y)), end, float(rng.normal(0, 0.12)), 1, cv2.LINE_AA)
    shade = 0.02 * cloud(height, width, seed + 1) + 0.025 * cloud(height, width, seed + 2, 0.02, 3) + fibres
    if pixels_per_flute:
        shade += 0.022 * np.sin(2 * np.pi * np.arange(width) / pixels_per_flute + 0.4 * cloud(height, width, seed + 3))
    return shaded(base, shade)


def landscape(width: int, height: int, seed: int) -> Array8:
    """A small printed 'photograph': sky, hills, water, in halftone."""
    rng = np.random.default_rng(seed)
    y = np.linspace(0, 1, height)[:, None, None]
    picture = (np.array([120, 160, 205]) * (1 - y) + np.array([238, 222, 200]) * y) * np.ones((1, width, 1))
    x = np.arange(width)
    for layer in range(4):
        ridge = 0.35 + 0.13 * layer + 0.05 * np.cumsum(rng.normal(size=width)) / np.sqrt(width)
        ridge = ridge + 0.04 * np.sin(x / width * rng.uniform(5, 14) + rng.uniform(0, 6))
        colour = np.array([70, 95, 88]) * (0.55 + 0.28 * (3 - layer)) + rng.uniform(-10, 10, 3)
        picture = np.where(y > ridge[None, :, None], np.clip(colour, 0, 255), picture)
    dots = (
        9
        * np.sin(np.arange(width)[None] * 1.1 + np.arange(height)[:, None] * 0.4)
        * np.sin(np.arange(height) * 1.1)[:, None]
    )
    return np.asarray(np.clip(picture + dots[..., None], 0, 255), np.uint8)


def with_metal(picture: Array8, metal: NDArray[np.float32] | float) -> Array8:
    """RGB -> RGBA, the fourth channel saying how metallic the print is (0..1)."""
    alpha = np.broadcast_to(np.clip(np.asarray(metal, np.float32) * 255, 0, 255), picture.shape[:2])
    return np.dstack([picture, alpha.astype(np.uint8)])
