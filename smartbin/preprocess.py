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

from smartbin.brightness import BrightnessSettings, Exposure, SteadyGamma, correct
from smartbin.errors import ImageError
from smartbin.images import BgrImage

_BILINEAR_FACTOR = 2.7  # beyond it, bilinear sampling of pixels that are pairs already would leave too many of them out


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


def to_input(image: BgrImage, spec: PreprocessSpec, steady: SteadyGamma | None = None) -> NetworkInput:
    """Centre crop, resize, correct the brightness, RGB: uint8 [H, W, 3] BGR to uint8 [S, S, 3] RGB.

    `steady` smooths the correction of a stream of frames; photos are corrected each for itself. Raises `ImageError` if
    `image` is not uint8 with three channels.
    """
    check_image(image)
    small = shrink_frame(centre_crop(image, spec.max_aspect, spec.crop), spec.size)
    lit, exposure = correct(small, spec.brightness, steady)
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
    """As `resize_square`, to about a grey level, in a fraction of the time where the image is large.

    Area averaging is slow over fractions of pixels and fast over pairs. So the image is halved as long as that leaves
    enough of it, and the rest, a factor of about two at most, is bilinear.
    """
    height, width = image.shape[:2]
    if min(height, width) < 2 * size:
        return resize_square(image, size)
    while min(height, width) >= 2 * size:
        height, width = height // 2, width // 2
        pairs = image[: 2 * height, : 2 * width]  # an odd last row or column is left out
        image = np.asarray(cv2.resize(pairs, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if max(height, width) > _BILINEAR_FACTOR * size:
        return resize_square(image, size)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


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
