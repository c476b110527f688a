"""Photos of made-up objects, several of each from other sides, so that it is known which photos belong together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 192, 256


def draw_object(number: int, view: int) -> np.ndarray:
    """A patch with its own colours and print on a light ground, uint8 [H, W, 3] BGR; `view` turns and shifts it."""
    rng = np.random.default_rng(number)
    colours = rng.integers(0, 256, (3, 3))
    patch = colours[rng.integers(0, 3, (7, 7))].astype(np.uint8)
    patch = cv2.resize(patch, (130, 130), interpolation=cv2.INTER_NEAREST)
    cv2.putText(patch, f"{number * 7919 % 10007}", (6, 80), cv2.FONT_HERSHEY_DUPLEX, 1.3, (255, 255, 255), 3)
    seen = np.random.default_rng([number, view])
    turn = cv2.getRotationMatrix2D((65, 65), float(seen.uniform(-4, 4)), 1.0)
    turn[:, 2] += (WIDTH / 2 - 65 + seen.uniform(-8, 8), HEIGHT / 2 - 65 + seen.uniform(-6, 6))
    ground = np.full((HEIGHT, WIDTH, 3), 215, np.uint8)
    image = cv2.warpAffine(patch, turn, (WIDTH, HEIGHT), dst=ground, borderMode=cv2.BORDER_TRANSPARENT)
    return np.clip(image + seen.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def write_objects(root: Path, classes: int = 2, objects: int = 8, views: int = 3) -> Path:
    """Class folders `class0` …; files are named `OBJECT-VIEW.png`, where the object's number is its own in the set."""
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for item in range(objects):
            number = label * objects + item
            for view in range(views):
                cv2.imwrite(str(folder / f"{number}-{view}.png"), draw_object(number, view))
    return root


def object_of(path: Path) -> int:
    return int(path.stem.split("-")[0])
