"""What the device tests stage: empty bins, coloured items in them, light, noise, and whole stories on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from device.frame import Frame

COLOURS = {"red": (40, 40, 210), "green": (40, 180, 40), "blue": (210, 60, 40)}


@dataclass(frozen=True)
class Bin:
    """A textured empty bin of a given seed: another seed is another view."""

    seed: int = 0
    height: int = 120
    width: int = 160

    def empty(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        tile = 20 + 3 * self.seed
        coarse = rng.uniform(90, 170, (self.height // tile, self.width // tile, 1)).astype(np.float32)
        ground = cv2.resize(coarse, (self.width, self.height), interpolation=cv2.INTER_NEAREST)[..., None]
        return np.clip(np.repeat(ground, 3, axis=2) * (0.95, 1.0, 1.03), 0, 255).astype(np.uint8)

    def holding(self, colour: str, *, at: float = 0.5, size: float = 0.5) -> np.ndarray:
        """An item of a colour, `size` of the picture high, its centre at `at` of the width."""
        image = self.empty()
        half_h, half_w = int(self.height * size / 2), int(self.width * size / 2)
        x, y = int(self.width * at), self.height // 2
        cv2.rectangle(image, (x - half_w, y - half_h), (x + half_w, y + half_h), COLOURS[colour], -1)
        cv2.line(image, (x - half_w, y), (x + half_w, y), (230, 230, 230), 3)
        return image


def lit(image: np.ndarray, scale: float, *, noise: float = 2.0, seed: int = 0) -> np.ndarray:
    """The picture under another light, with sensor noise (levels)."""
    rng = np.random.default_rng(seed)
    return np.clip(image * np.float32(scale) + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def frames_of(images: list[np.ndarray], *, fps: float = 10.0, start_s: float = 0.0) -> list[Frame]:
    """Images as the frames of a camera."""
    return [Frame(image, number + 1, start_s + number / fps, "staged") for number, image in enumerate(images)]


def write_story(folder: Path, items: tuple[str, ...] = ("red", "green"), *, fps: float = 10.0) -> Path:
    """A small story as the renderer writes it: an empty bin, then each item arrives, stays and leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    frames: list[dict[str, object]] = []

    def add(image: np.ndarray, phase: str, item: str | None) -> None:
        name = f"frame{len(frames):03d}.jpg"
        cv2.imwrite(str(folder / name), lit(image, 1.0, seed=len(frames)))
        frames.append(
            {"file": name, "view": "front", "light": "good", "light_scale": 1.0, "phase": phase}
            | {"item": item and f"{item}-1", "label": item}
        )

    tray = Bin(width=320, height=240)
    for _ in range(2):
        add(tray.empty(), "empty", None)
    for item in items:
        add(tray.holding(item, at=0.1), "arriving", item)
        for _ in range(6):
            add(tray.holding(item), "staying", item)
        add(tray.holding(item, at=0.9), "leaving", item)
        for _ in range(2):
            add(tray.empty(), "empty", None)
    story = {"schema": 1, "fps": fps, "width": 320, "height": 240, "frames": frames}
    (folder / "story.json").write_text(json.dumps(story))
    return folder


PICTURE = np.full((48, 64, 3), 100, np.uint8)


class FakeCapture:
    """A `cv2.VideoCapture` whose every answer is scripted."""

    def __init__(self, images=(PICTURE,), *, opens=True, settings=None, fails_on_set=False):
        self.images, self.opens, self.settings, self.fails_on_set = list(images), opens, settings or {}, fails_on_set
        self.asked, self.released, self.target = {}, 0, None

    def open(self, target, backend, parameters):
        self.target, self.backend, self.parameters = target, backend, list(parameters)
        return self

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return self.opens

    def read(self):
        image = self.images.pop(0) if self.images else None
        return image is not None, image

    def set(self, prop, value):
        if self.fails_on_set:
            raise RuntimeError("driver")
        self.asked[prop] = value
        return True

    def get(self, prop):
        return self.settings.get(prop, 0.0)

    def release(self):
        self.released += 1
