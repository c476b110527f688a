"""Training augmentation: a decoded photo to a network input, another one for each seed.

Called by the loader for training photos only; `train/augmentation/tensor_augment.py` does the same to a whole batch on
a GPU. It ends where the device preprocessing begins: the last steps are `smartbin.preprocess.resize_square` and
`smartbin.brightness.correct`, so that the network learns from images that went through the device's own correction.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.brightness import BrightnessSettings, correct
from smartbin.images import BgrImage
from smartbin.preprocess import resize_square
from train.augmentation.colour import recolour
from train.augmentation.config import Augment
from train.augmentation.draws import Box, Draw, draw
from train.augmentation.lighting import relight


class Augmentation:
    """`augmentation(image, seed)`: uint8 [H, W, 3] BGR to uint8 [S, S, 3] RGB; the same for the same seed."""

    def __init__(self, settings: Augment, size: int, brightness: BrightnessSettings) -> None:
        self.settings, self.size, self.brightness = settings, size, brightness

    def __call__(self, image: BgrImage, seed: int) -> NDArray[np.uint8]:
        """Crop, flip and turn, change colours, erase, relight; then the device's brightness correction and RGB."""
        drawn = draw(self.settings, image.shape[0], image.shape[1], self.size, seed)
        square = _turned(resize_square(_part(image, drawn.box), self.size), drawn)
        square = recolour(square, drawn.colours)
        noise = np.random.default_rng(drawn.noise_seed)
        if drawn.erased is not None:
            square = _erased(square, drawn.erased, noise)
        if drawn.light is not None:
            exposure, gains = drawn.light.exposure, drawn.light.gains_bgr
            square = relight(square, noise, light=exposure, gains_bgr=gains, binned=drawn.binned(self.size))
        lit, _ = correct(square, self.brightness)
        return np.asarray(cv2.cvtColor(lit, cv2.COLOR_BGR2RGB), np.uint8)


def _part(image: BgrImage, box: Box) -> BgrImage:
    return image[box.top : box.top + box.height, box.left : box.left + box.width]


def _turned(image: BgrImage, drawn: Draw) -> BgrImage:
    if drawn.across:
        image = image[:, ::-1]
    if drawn.down:
        image = image[::-1]
    if drawn.turn:
        image = np.rot90(image)
    return np.ascontiguousarray(image)


def _erased(image: BgrImage, box: Box, noise: np.random.Generator) -> BgrImage:
    erased = image.copy()
    _part(erased, box)[:] = noise.integers(256, size=(box.height, box.width, 3), dtype=np.uint8)
    return erased
