"""The colour and shape operations of the augmentation on one image, by torchvision and PIL."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from smartbin.images import BgrImage
from train.augmentation.draws import ColourStep, Operation

FILL = 127  # what rotation, shear and translation uncover


def recolour(image: BgrImage, steps: Sequence[ColourStep]) -> BgrImage:
    """The image uint8 [H, W, 3] BGR after all steps; the very same array if none changes anything."""
    steps = [step for step in steps if step.operation != "identity"]
    if not steps:
        return image
    rgb = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))  # on a CPU, PIL is faster here than tensors
    for step in steps:
        rgb = _apply(rgb, step)
    return np.asarray(cv2.cvtColor(np.asarray(rgb, np.uint8), cv2.COLOR_RGB2BGR), np.uint8)


def _apply(image: Image.Image, step: ColourStep) -> Image.Image:
    changed: Image.Image = _OPERATIONS[step.operation](image, step.amount)
    return changed


def _affine(
    image: Image.Image, *, translate: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)
) -> Image.Image:
    """Shears keep the upper left corner, as TrivialAugment's do."""
    corner = [0.0, 0.0] if any(shear) else None
    moved: Image.Image = F.affine(
        image,
        angle=0.0,
        translate=list(translate),
        scale=1.0,
        shear=list(shear),
        interpolation=InterpolationMode.BILINEAR,
        fill=FILL,
        center=corner,
    )
    return moved


_OPERATIONS: Mapping[Operation, Callable[[Image.Image, float], Image.Image]] = MappingProxyType(
    {
        "shear_x": lambda image, slope: _affine(image, shear=(math.degrees(math.atan(slope)), 0.0)),
        "shear_y": lambda image, slope: _affine(image, shear=(0.0, math.degrees(math.atan(slope)))),
        "translate_x": lambda image, pixels: _affine(image, translate=(int(pixels), 0)),
        "translate_y": lambda image, pixels: _affine(image, translate=(0, int(pixels))),
        "rotate": lambda image, degrees: F.rotate(image, degrees, InterpolationMode.BILINEAR, fill=FILL),
        "brightness": F.adjust_brightness,
        "saturation": F.adjust_saturation,
        "contrast": F.adjust_contrast,
        "sharpness": F.adjust_sharpness,
        "posterize": lambda image, bits: F.posterize(image, int(bits)),
        "solarize": F.solarize,
        "autocontrast": lambda image, _: F.autocontrast(image),
        "equalize": lambda image, _: F.equalize(image),
        "hue": F.adjust_hue,
    }
)
