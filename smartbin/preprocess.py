"""The one way from a camera image to a network input.

Validation, test, quantisation calibration, parity checks, benchmarks and the daemon all call `to_input`. Scaling,
mean and standard deviation are inside the exported graph, so what leaves here is bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from smartbin.brightness import BrightnessSettings, Exposure, correct
from smartbin.errors import ImageError
from smartbin.images import BgrImage


class PreprocessSpec(BaseModel):
    """How an image becomes a network input; travels with the model in its bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=32, le=1024, description="side of the square network input, pixels")
    max_aspect: float = Field(
        default=4 / 3,
        ge=1,
        le=4,
        description="centre-cropped to at most this aspect ratio, then stretched to the square; 1: a plain square crop",
    )
    crop: float = Field(default=1.0, gt=0.1, le=1, description="central part of each side that is kept")
    brightness: BrightnessSettings = BrightnessSettings()


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """What the network gets, uint8 [S, S, 3] RGB, and what the light was like."""

    image: NDArray[np.uint8]
    exposure: Exposure


def to_input(image: BgrImage, spec: PreprocessSpec) -> NetworkInput:
    """Centre crop, resize, correct the brightness, RGB: uint8 [H, W, 3] BGR to uint8 [S, S, 3] RGB.

    Raises `ImageError` if `image` is not uint8 with three channels.
    """
    check_image(image)
    small = shrink_frame(centre_crop(image, spec.max_aspect, spec.crop), spec.size)
    lit, exposure = correct(small, spec.brightness)
    return NetworkInput(np.asarray(cv2.cvtColor(lit, cv2.COLOR_BGR2RGB), np.uint8), exposure)


def check_image(image: BgrImage) -> None:
    """`ImageError` unless `image` is uint8 [H, W, 3] with H and W at least 1."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            "not a colour image", found=f"{image.dtype} {list(image.shape)}", expected="uint8 [H, W, 3] BGR"
        )


def centre_crop(image: BgrImage, max_aspect: float, crop: float) -> BgrImage:
    """The central part of an image [H, W, 3], a view: at most `max_aspect` long, `crop` of each remaining side."""
    height, width = image.shape[:2]
    new_height = max(1, round(min(height, width * max_aspect) * crop))
    new_width = max(1, round(min(width, height * max_aspect) * crop))
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return image[top : top + new_height, left : left + new_width]


def shrink_frame(image: BgrImage, size: int) -> BgrImage:
    """As `resize_square`, to a tenth of a grey level, in less than half the time where the image is large.

    Area averaging is slow over fractions of pixels. So a large image is first brought to a whole multiple of the size,
    bilinearly and to no less than about half of it, which reads every pixel; the rest averages whole pixels.
    """
    side = size * max(2, round(max(image.shape[:2]) / size / 2))
    if min(image.shape[:2]) > side:
        image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return resize_square(image, size)


def resize_square(image: BgrImage, size: int) -> BgrImage:
    """Stretch an image [H, W, 3] to [size, size, 3]; area averaging when shrinking, else bilinear.

    Area averaging reads every source pixel, so that fine texture does not alias when a camera image is shrunk.
    """
    height, width = image.shape[:2]
    if height == size and width == size:
        return image
    shrinks = height >= size and width >= size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def stack_inputs(inputs: Sequence[NetworkInput]) -> NDArray[np.uint8]:
    """A batch uint8 [N, S, S, 3] RGB of inputs of one size."""
    return np.stack([item.image for item in inputs])
