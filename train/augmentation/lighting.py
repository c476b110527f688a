"""Another light on a photo: exposure, white balance, sensor noise. The augmentation draws it, measurements state it.

Darkening in linear light with shot and read noise resembles what a dark corner does to a camera, and augmentation helps
as far as it resembles the real corruption (arXiv 2102.11273). The noise model is `smartbin.lowlight`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.errors import ConfigError
from smartbin.images import BgrImage
from smartbin.lowlight import FULL_WELL_E, READ_NOISE_E, dim, linear_to_srgb, srgb_to_linear

_MOST = 64.0  # beyond it no camera's picture is imitated


@dataclass(frozen=True, slots=True)
class Light:
    """A light in which photos are looked at; the default leaves them as they are."""

    exposure: float = 1.0
    """Part of the photo's own light; above 1 is over-exposed."""
    noise: float = 1.0
    """Standard deviation of the sensor's noise beside that of `smartbin.lowlight`'s sensor."""
    gains_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """White-balance gains in linear light."""

    def __post_init__(self) -> None:
        for name, value in (("exposure", self.exposure), ("noise", self.noise)):
            if not 0 < value <= _MOST:
                raise ConfigError("no such light", where=name, found=value, expected=f"above 0, at most {_MOST:g}")

    def on(self, image: BgrImage, seed: int) -> BgrImage:
        """The photo uint8 [H, W, 3] BGR in this light; `seed` is that of the noise. Unchanged: the very same array."""
        if self == AS_IT_IS:
            return image
        rng = np.random.default_rng(seed)
        return relight(image, rng, light=self.exposure, gains_bgr=self.gains_bgr, noise=self.noise)


AS_IT_IS = Light()
"""No change: the photo as it was taken."""


def relight(
    image: BgrImage,
    rng: np.random.Generator,
    *,
    light: float,
    gains_bgr: tuple[float, float, float],
    binned: float = 1.0,
    noise: float = 1.0,
) -> BgrImage:
    """The photo uint8 [H, W, 3] BGR under `light` times its light, with white-balance gains, by a noisy sensor.

    `light` above 1 over-exposes. `binned` is how many sensor pixels one pixel of `image` averages: a photo that was
    shrunk before has less noise than the sensor. `noise` is a factor on the standard deviation of all noise: a smaller
    pixel holds 1 / noise**2 as many electrons.
    """
    brighter = max(1.0, light)
    tinted = _with_gains(image, tuple(gain * brighter for gain in gains_bgr))
    binned = _power_of_two(max(1.0, binned))
    return dim(
        tinted,
        min(1.0, light),
        rng,
        full_well_e=FULL_WELL_E * binned / noise**2,
        read_noise_e=READ_NOISE_E * binned**0.5 / noise,
    )


def _with_gains(image: BgrImage, gains: tuple[float, ...]) -> BgrImage:
    """Multiply each channel in linear light and encode to 8 bits again, by one look-up table per channel."""
    linear = srgb_to_linear(np.arange(256) / 255.0)
    encoded = linear_to_srgb(np.clip(linear[:, None] * np.asarray(gains)[None, :], 0.0, 1.0))
    table: NDArray[np.uint8] = np.rint(encoded * 255.0).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _power_of_two(pixels: float) -> float:
    """The nearest power of two, so that the noise model's cache of tables is hit."""
    return float(2.0 ** round(np.log2(pixels)))
