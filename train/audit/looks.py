"""What a photo looks like as a whole, in a dozen numbers: light, sharpness, colour, and the colour of its border.

None of them says what the photo shows. If a class can be told from them alone, a network can take that short cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.brightness import measure
from smartbin.images import BgrImage

Kind: TypeAlias = Literal["light", "sharpness", "colour", "border", "file"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number that describes a whole photo."""

    name: str
    kind: Kind
    text: str
    """What it is and its range, for the report."""
    circular: bool = False
    """An angle in degrees, so that 359 is beside 0."""
    digits: int = 2


STATISTICS: tuple[Statistic, ...] = (
    Statistic("luma", "light", "mean luma, 0 black to 1 white"),
    Statistic("clipped", "light", "part of the pixels that are clipped white", digits=3),
    Statistic("contrast", "light", "standard deviation of luma, 0 to .5", digits=3),
    Statistic("sharpness", "sharpness", "log10 of the variance of the Laplacian, at 512 pixels"),
    Statistic("detail", "sharpness", "log10 of Laplacian over luma variance, low when blurred"),
    Statistic("hue", "colour", "mean hue weighted by saturation, degrees", circular=True, digits=0),
    Statistic("saturation", "colour", "mean HSV saturation, 0 to 1", digits=3),
    Statistic("red cast", "colour", "log2 of mean red / mean green, 0 when grey", digits=3),
    Statistic("blue cast", "colour", "log2 of mean blue / mean green, 0 when grey", digits=3),
    Statistic("border luma", "border", "mean luma of the outer twelfth on every side"),
    Statistic("border contrast", "border", "standard deviation of luma there", digits=3),
    Statistic("border red cast", "border", "log2 of red / green there", digits=3),
    Statistic("border blue cast", "border", "log2 of blue / green there", digits=3),
    Statistic("aspect", "file", "width / height"),
    Statistic("megapixels", "file", "width x height / 1e6"),
    Statistic("bits per pixel", "file", "size of the file / number of pixels"),
)

_SIDE = 512  # longer side that everything but exposure is measured at, so that sizes compare
_BORDER = 1 / 12
_LEAST_VARIANCE = 1e-2  # a uniform photo has no logarithm
_GREY_LEVEL = 1.0  # added to channel means, so that black photos have no cast


def place_of(name: str) -> int:
    """Column of a statistic by its name."""
    return [statistic.name for statistic in STATISTICS].index(name)


def describe(image: BgrImage, file_bytes: int) -> NDArray[np.float64]:
    """The value of every statistic, float64 [len(STATISTICS)], of an image uint8 [H, W, 3] BGR."""
    height, width = image.shape[:2]
    exposure = measure(image)
    small = _shrunk(image)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
    border = _border(small.shape[0], small.shape[1])
    border_grey = grey[border].astype(np.float64) / 255
    return np.array(
        [
            exposure.mean_luma,
            exposure.clipped_fraction,
            grey.std() / 255,
            *_sharpness(grey),
            *_hue_and_saturation(small),
            *_casts(small.reshape(-1, 3)),
            border_grey.mean(),
            border_grey.std(),
            *_casts(small[border]),
            width / height,
            width * height / 1e6,
            8 * file_bytes / (width * height),
        ]
    )


def _shrunk(image: BgrImage) -> BgrImage:
    factor = _SIDE / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _sharpness(grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Variance of the Laplacian (LAPV of Pertuz et al., Pattern Recognition 46, 2013), plain and without contrast.

    A sharp photo of something pale has a low variance as well; a blurred one stays low when contrast is divided out.
    """
    variance = max(_LEAST_VARIANCE, float(cv2.Laplacian(grey, cv2.CV_64F).var()))
    return float(np.log10(variance)), float(np.log10(variance / (1 + float(grey.var()))))


def _hue_and_saturation(image: BgrImage) -> tuple[float, float]:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float64)
    saturation = hsv[..., 1] / 255
    angle = np.deg2rad(2 * hsv[..., 0])  # OpenCV halves hues to fit a byte
    hue = np.rad2deg(np.arctan2((saturation * np.sin(angle)).mean(), (saturation * np.cos(angle)).mean()))
    return float(hue % 360), float(saturation.mean())


def _casts(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Red and blue against green, log2 of the means, of pixels [N, 3] BGR: the grey-world white balance."""
    blue, green, red = pixels.reshape(-1, 3).astype(np.float64).mean(axis=0) + _GREY_LEVEL
    return float(np.log2(red / green)), float(np.log2(blue / green))


def _border(height: int, width: int) -> NDArray[np.bool_]:
    """Mask [H, W] of the outer part of a picture, at least a pixel wide."""
    down, across = max(1, round(height * _BORDER)), max(1, round(width * _BORDER))
    mask = np.ones((height, width), np.bool_)
    mask[down : height - down, across : width - across] = False
    return mask
