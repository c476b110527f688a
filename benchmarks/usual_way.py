"""The usual way of preparing a photo for a network: PIL and torchvision, as a training script's validation does it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
from PIL import Image
from torchvision import transforms

from smartbin.images import BgrImage


def to_pil(image: BgrImage) -> Image.Image:
    """A frame uint8 [H, W, 3] BGR, as cameras deliver it, as PIL wants it."""
    return Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def resize_and_crop(size: int) -> transforms.Compose:
    """Shorter side to 256/224 of `size`, then the central square: a PIL image to a PIL image."""
    return transforms.Compose([transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)])


def normalise(mean: Sequence[float], std: Sequence[float]) -> transforms.Compose:
    """A PIL image to normalised float32 planes [3, S, S]."""
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
