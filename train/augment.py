"""Training augmentation: a decoded photo to a network input, another one for each seed.

Called by the loader for training photos only. It ends where the device preprocessing begins: the last steps are
`smartbin.preprocess.resize_square` and `smartbin.brightness.correct`, so that the network learns from images that
went through the device's own correction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from smartbin.brightness import BrightnessSettings, correct
from smartbin.images import BgrImage
from smartbin.preprocess import resize_square
from train.config import Augment
from train.lighting import relight

_CROP_TRIES = 10
_FILL = 127  # what rotation and shear uncover


@dataclass(frozen=True, slots=True)
class _Box:
    top: int
    left: int
    height: int
    width: int


class Augmentation:
    """`augmentation(image, seed)`: uint8 [H, W, 3] BGR to uint8 [S, S, 3] RGB; the same for the same seed."""

    def __init__(self, settings: Augment, size: int, brightness: BrightnessSettings) -> None:
        self.settings, self.size, self.brightness = settings, size, brightness
        self._colour = _colour_transform(settings)

    def __call__(self, image: BgrImage, seed: int) -> NDArray[np.uint8]:
        """Crop, flip and turn, change colours, erase, relight; then the device's brightness correction and RGB."""
        rng = np.random.default_rng(seed)
        box = random_box(image.shape[0], image.shape[1], self.settings, rng)
        square = resize_square(image[box.top : box.top + box.height, box.left : box.left + box.width], self.size)
        square = self._turned(square, rng)
        square = self._coloured(square, rng)
        square = self._erased(square, rng)
        square = self._relit(square, rng, binned=box.height * box.width / self.size**2)
        lit, _ = correct(square, self.brightness)
        return np.asarray(cv2.cvtColor(lit, cv2.COLOR_BGR2RGB), np.uint8)

    def _turned(self, image: BgrImage, rng: np.random.Generator) -> BgrImage:
        across, down, turn = rng.random(3) < (self.settings.flip, self.settings.flip, self.settings.turn)
        if across:
            image = image[:, ::-1]
        if down:
            image = image[::-1]
        if turn:
            image = np.rot90(image)
        return np.ascontiguousarray(image)

    def _coloured(self, image: BgrImage, rng: np.random.Generator) -> BgrImage:
        seed = int(rng.integers(2**63))
        if self._colour is None:
            return image
        rgb = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))  # on a CPU, PIL is faster here than tensors
        # torchvision draws from torch's global generator, which the network's dropout uses, too
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            changed = self._colour(rgb)
        return np.asarray(cv2.cvtColor(np.asarray(changed, np.uint8), cv2.COLOR_RGB2BGR), np.uint8)

    def _erased(self, image: BgrImage, rng: np.random.Generator) -> BgrImage:
        chosen, area, ratio = rng.random() < self.settings.erase, rng.uniform(0.02, 0.2), rng.uniform(-1, 1)
        if not chosen:
            return image
        height = min(self.size, round(self.size * math.sqrt(area * 2**ratio)))
        width = min(self.size, round(self.size * math.sqrt(area / 2**ratio)))
        top, left = rng.integers(self.size - height + 1), rng.integers(self.size - width + 1)
        erased = image.copy()
        erased[top : top + height, left : left + width] = rng.integers(256, size=(height, width, 3), dtype=np.uint8)
        return erased

    def _relit(self, image: BgrImage, rng: np.random.Generator, binned: float) -> BgrImage:
        settings = self.settings
        if rng.random() >= settings.light:
            return image
        light = 2.0 ** rng.uniform(math.log2(settings.darkest), math.log2(settings.brightest))
        red, blue = rng.uniform(1 - settings.white_balance, 1 + settings.white_balance, 2)
        return relight(image, rng, light=light, gains_bgr=(blue, 1.0, red), binned=binned)


def random_box(height: int, width: int, settings: Augment, rng: np.random.Generator) -> _Box:
    """A crop of random area and aspect ratio in an image of `height` by `width` pixels (Szegedy et al., 1409.4842)."""
    low, high = math.log(settings.min_ratio), math.log(settings.max_ratio)
    for _ in range(_CROP_TRIES):
        area = height * width * rng.uniform(settings.min_scale, 1.0)
        ratio = math.exp(rng.uniform(low, high))
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = rng.integers(height - box_height + 1), rng.integers(width - box_width + 1)
            return _Box(int(top), int(left), box_height, box_width)
    return _Box(0, 0, height, width)


def _colour_transform(settings: Augment) -> v2.Transform | None:
    if settings.colour == "trivial":
        return v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR, fill=_FILL)
    if settings.colour == "jitter":
        return v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03)
    return None
