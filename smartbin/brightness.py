"""Brightness: measured on every image, corrected only where it is out of band.

One function for training, calibration, parity checks and the daemon. In band the frame stays bit-identical; out of band
a gamma curve, applied by look-up table, moves the mean luma to the target. Enhancement in front of a classifier only
helps when training saw the same enhancement (arXiv 2409.14461), so training calls this, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from smartbin.images import BgrImage

LightState: TypeAlias = Literal["ok", "too_dark", "too_bright"]
SteadyGamma: TypeAlias = Callable[[float], float]
"""Makes of the gamma that an image asks for the one to apply: how a stream of frames is kept from flickering."""

_LEVELS = np.arange(256, dtype=np.float64) / 255.0
_CLIPPED_LEVEL = 254  # a pixel at or above it has lost its detail
_STEPS = 12  # bisection steps: gamma to a part in 4096 of its range
_SAMPLE_SIDE = 160  # luma statistics are taken from an image at most this wide: mean within .002 of the full one


class BrightnessSettings(BaseModel):
    """How brightness is corrected; part of the model bundle, since the model was trained with it.

    All luma values are means of Rec. 601 luma over the image, 0 black to 1 white. The defaults are what `python
    train/run.py study brightness` came to, see docs/results.md 13.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="correct images that are out of band")
    low_luma: float = Field(default=0.25, ge=0, le=1, description="below this mean luma an image is brightened")
    high_luma: float = Field(default=0.85, ge=0, le=1, description="above this mean luma an image is darkened")
    target_luma: float = Field(default=0.4, ge=0, le=1, description="the mean luma a dark image is moved towards")
    min_gamma: float = Field(default=0.25, gt=0, le=1, description="strongest brightening: output = input ** gamma")
    max_gamma: float = Field(default=2.0, ge=1, description="strongest darkening")
    too_dark_luma: float = Field(default=0.02, ge=0, le=1, description="below it nothing is guessed")
    too_bright_clipped: float = Field(
        default=0.8, ge=0, le=1, description="clipped part above which nothing is guessed"
    )

    @model_validator(mode="after")
    def _check_order(self) -> BrightnessSettings:
        if not self.too_dark_luma <= self.low_luma <= self.target_luma <= self.high_luma:
            raise ValueError("must be too_dark_luma <= low_luma <= target_luma <= high_luma")
        return self


@dataclass(frozen=True, slots=True)
class Exposure:
    """What was measured on an image before correction, and the gamma that was applied (1: none)."""

    mean_luma: float
    clipped_fraction: float
    gamma: float = 1.0

    @property
    def corrected(self) -> bool:
        """Whether the image was changed."""
        return self.gamma != 1.0


def measure(image: BgrImage) -> Exposure:
    """Mean luma (0 to 1) and clipped fraction of an image uint8 [H, W, 3] BGR; gamma is 1."""
    return _exposure_of(_luma_histogram(image))


def correct(
    image: BgrImage, settings: BrightnessSettings, steady: SteadyGamma | None = None
) -> tuple[BgrImage, Exposure]:
    """Correct an image uint8 [H, W, 3] BGR; in band, the very same array comes back.

    Out of band the gamma is the one that moves the mean luma to the target (a dark image) or to the edge of the band
    (a bright one), within the limits of `settings`; or what `steady` makes of it, which is told of images in band, too.
    """
    histogram = _luma_histogram(image)
    exposure = _exposure_of(histogram)
    if not settings.enabled or settings.low_luma <= exposure.mean_luma <= settings.high_luma:
        if steady is not None:
            steady(1.0)
        return image, exposure
    target = settings.target_luma if exposure.mean_luma < settings.low_luma else settings.high_luma
    gamma = _gamma_for(histogram, target, settings)
    if steady is not None:
        gamma = steady(gamma)
    if gamma == 1.0:
        return image, exposure
    corrected = cv2.LUT(image, gamma_table(gamma))
    return np.asarray(corrected, np.uint8), Exposure(exposure.mean_luma, exposure.clipped_fraction, gamma)


def light_state(exposure: Exposure, settings: BrightnessSettings) -> LightState:
    """Whether there is light enough, and not too much, to judge by."""
    if exposure.mean_luma < settings.too_dark_luma:
        return "too_dark"
    return "too_bright" if exposure.clipped_fraction > settings.too_bright_clipped else "ok"


@functools.lru_cache(maxsize=16)  # a light that stays has one; each is made in 5 µs
def gamma_table(gamma: float) -> NDArray[np.uint8]:
    """The look-up table uint8 [256] of `255 * (v / 255) ** gamma`, rounded."""
    table = np.rint(255.0 * _LEVELS**gamma).astype(np.uint8)
    table.setflags(write=False)
    return table


def _luma_histogram(image: BgrImage) -> NDArray[np.float64]:
    step = max(1, max(image.shape[:2]) // _SAMPLE_SIDE)
    luma = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_BGR2GRAY)
    counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().astype(np.float64)  # 3 times np.bincount's speed
    return np.asarray(counts / counts.sum(), np.float64)


def _exposure_of(histogram: NDArray[np.float64]) -> Exposure:
    return Exposure(float(histogram @ _LEVELS), float(histogram[_CLIPPED_LEVEL:].sum()))


def _gamma_for(histogram: NDArray[np.float64], target: float, settings: BrightnessSettings) -> float:
    """Gamma by bisection on its logarithm: the mean of `level ** gamma` falls steadily as gamma rises."""
    low, high = np.log2(settings.min_gamma), np.log2(settings.max_gamma)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if histogram @ _LEVELS ** (2.0**middle) > target:
            low = middle
        else:
            high = middle
    return round(float(2.0 ** ((low + high) / 2)), 3)  # rounded so that the table cache is hit
