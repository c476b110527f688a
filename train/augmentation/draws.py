"""What the augmentation does to one sample, drawn from its seed: crop, flips, colours, erased part, light.

Called for every sample by both ways of augmenting, on the CPU (`train/augmentation/augment.py`) and on the device
(`train/augmentation/tensor_augment.py`), so that a seed means the same in both. Nothing here looks at a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from train.augmentation.config import Augment
from train.augmentation.lighting import Light

Operation: TypeAlias = Literal[
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "saturation", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize", "hue",
]  # fmt: skip

_CROP_TRIES = 10
_JITTER = 0.3
_JITTER_HUE = 0.03
_TRIVIAL_BINS = 31
# TrivialAugment's wide space (arXiv 2103.10158, table 6), as torchvision has it: the largest magnitude of operations
# that go both ways.
_TRIVIAL_BOTH_WAYS: dict[Operation, float] = {
    "shear_x": 0.99, "shear_y": 0.99, "translate_x": 32.0, "translate_y": 32.0, "rotate": 135.0, "brightness": 0.99,
    "saturation": 0.99, "contrast": 0.99, "sharpness": 0.99,
}  # fmt: skip
TRIVIAL: tuple[Operation, ...] = (
    "identity", *_TRIVIAL_BOTH_WAYS, "posterize", "solarize", "autocontrast", "equalize"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class ColourStep:
    """An operation and how strong it is, in the unit of the operation.

    Shears are slopes, translations pixels, rotations degrees; brightness, saturation, contrast and sharpness are
    factors (1: no change); posterize keeps that many bits, solarize inverts from that level, hue turns by that part of
    a turn.
    """

    operation: Operation
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Draw:
    """Everything that is drawn for a sample, in the order in which it is done."""

    box: Box
    """The crop that becomes the square."""
    across: bool
    down: bool
    turn: bool
    colours: tuple[ColourStep, ...]
    erased: Box | None
    """In the square."""
    light: Light | None
    noise_seed: int
    """Of the erased part's noise and the sensor's."""

    def binned(self, size: int) -> float:
        """How many pixels of the photo one pixel of the square averages."""
        return self.box.height * self.box.width / size**2


def draw(settings: Augment, height: int, width: int, size: int, seed: int) -> Draw:
    """What happens to a photo of `height` by `width` pixels that becomes a square of `size`; the same for a seed."""
    rng = np.random.default_rng(seed)
    box = random_box(height, width, settings, rng)
    across, down, turn = (value < chance for value, chance in zip(rng.random(3), _chances(settings), strict=True))
    return Draw(
        box=box,
        across=bool(across),
        down=bool(down),
        turn=bool(turn),
        colours=_colours(settings, rng),
        erased=_erased(settings, size, rng),
        light=_light(settings, rng),
        noise_seed=int(rng.integers(2**63)),
    )


def random_box(height: int, width: int, settings: Augment, rng: np.random.Generator) -> Box:
    """A crop of random area and aspect ratio in an image of `height` by `width` pixels (Szegedy et al., 1409.4842)."""
    low, high = math.log(settings.min_ratio), math.log(settings.max_ratio)
    for _ in range(_CROP_TRIES):
        area = height * width * rng.uniform(settings.min_scale, 1.0)
        ratio = math.exp(rng.uniform(low, high))
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = rng.integers(height - box_height + 1), rng.integers(width - box_width + 1)
            return Box(int(top), int(left), box_height, box_width)
    return Box(0, 0, height, width)


def _chances(settings: Augment) -> tuple[float, float, float]:
    return settings.flip, settings.flip_down, settings.turn


def _colours(settings: Augment, rng: np.random.Generator) -> tuple[ColourStep, ...]:
    if settings.colour == "trivial":
        return (_trivial_step(TRIVIAL[rng.integers(len(TRIVIAL))], rng),)
    if settings.colour == "jitter":
        steps = [
            ColourStep("brightness", rng.uniform(1 - _JITTER, 1 + _JITTER)),
            ColourStep("contrast", rng.uniform(1 - _JITTER, 1 + _JITTER)),
            ColourStep("saturation", rng.uniform(1 - _JITTER, 1 + _JITTER)),
            ColourStep("hue", rng.uniform(-_JITTER_HUE, _JITTER_HUE)),
        ]
        return tuple(steps[place] for place in rng.permutation(len(steps)))
    return ()


def _trivial_step(operation: Operation, rng: np.random.Generator) -> ColourStep:
    last = _TRIVIAL_BINS - 1
    place = int(rng.integers(_TRIVIAL_BINS))
    strength = place / last
    if operation in _TRIVIAL_BOTH_WAYS:
        amount = _TRIVIAL_BOTH_WAYS[operation] * strength * (-1 if rng.random() < 0.5 else 1)
        if operation in ("translate_x", "translate_y"):
            return ColourStep(operation, float(int(amount)))
        return ColourStep(operation, amount if operation in ("shear_x", "shear_y", "rotate") else 1 + amount)
    if operation == "posterize":
        return ColourStep(operation, float(8 - round(6 * strength)))
    return ColourStep(operation, 255 * (last - place) / last if operation == "solarize" else 0.0)


def _erased(settings: Augment, size: int, rng: np.random.Generator) -> Box | None:
    chosen, area, ratio = rng.random() < settings.erase, rng.uniform(0.02, 0.2), rng.uniform(-1, 1)
    if not chosen:
        return None
    height = min(size, round(size * math.sqrt(area * 2**ratio)))
    width = min(size, round(size * math.sqrt(area / 2**ratio)))
    return Box(int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1)), height, width)


def _light(settings: Augment, rng: np.random.Generator) -> Light | None:
    if rng.random() >= settings.light:
        return None
    exposure = 2.0 ** rng.uniform(math.log2(settings.darkest), math.log2(settings.brightest))
    red, blue = rng.uniform(1 - settings.white_balance, 1 + settings.white_balance, 2)
    return Light(exposure=exposure, gains_bgr=(float(blue), 1.0, float(red)))
