"""Another light on a photo: exposure, white balance, sensor noise. Used by the augmentation only.

Darkening in linear light with shot and read noise resembles what a dark corner does to a camera, and augmentation helps
as far as it resembles the real corruption (arXiv 2102.11273). The noise model is `smartbin.lowlight`, the same one
that the light sweep of `evaluate` uses.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.images import BgrImage
from smartbin.lowlight import FULL_WELL_E, READ_NOISE_E, dim, linear_to_srgb, srgb_to_linear


def relight(
    image: BgrImage,
    rng: np.random.Generator,
    *,
    light: float,
    gains_bgr: tuple[float, float, float],
    binned: float = 1.0,
) -> BgrImage:
    """The photo uint8 [H, W, 3] BGR under `light` times its light, with white-balance gains, by a noisy sensor.

    `light` above 1 over-exposes. `binned` is how many sensor pixels one pixel of `image` averages: a photo that was
    shrunk before has less noise than the sensor.
    """
    brighter = max(1.0, light)
    tinted = _with_gains(image, tuple(gain * brighter for gain in gains_bgr))
    binned = max(1.0, binned)
    return dim(
        tinted,
        min(1.0, light),
        rng,
        full_well_e=_rounded(FULL_WELL_E * binned),
        read_noise_e=READ_NOISE_E * binned**0.5,
    )


def _with_gains(image: BgrImage, gains: tuple[float, ...]) -> BgrImage:
    """Multiply each channel in linear light and encode to 8 bits again, by one look-up table per channel."""
    linear = srgb_to_linear(np.arange(256) / 255.0)
    encoded = linear_to_srgb(np.clip(linear[:, None] * np.asarray(gains)[None, :], 0.0, 1.0))
    table: NDArray[np.uint8] = np.rint(encoded * 255.0).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _rounded(electrons: float) -> float:
    """A power of two, so that the table cache of the noise model is hit."""
    return float(2.0 ** round(np.log2(electrons)))
