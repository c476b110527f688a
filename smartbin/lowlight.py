"""What a camera would have seen with less light: a photo goes in, a darker and noisier photo comes out.

Used where darkness must be simulated rather than waited for: training augmentation, int8 calibration, the light sweep
of the model card and the tests. The daemon never calls it.

The model is the usual one of a small sensor at a fixed exposure (EMVA 1288, sections 2.2 and 2.3): sRGB is decoded to
linear light, scaled, given shot noise (variance = number of electrons) and read noise (constant variance), and encoded
to sRGB again. Darkening the encoded values instead would be a different and far milder corruption. The Poisson shot
noise is drawn as a Gaussian of the same variance, which differs visibly only below some ten electrons, where read noise
dominates anyway.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smartbin.errors import ImageError

#: Electrons in a pixel at full scale. A 2 to 3 um pixel of a webcam or CSI module holds 5,000 to 10,000.
FULL_WELL_E = 6000.0
#: Read noise, standard deviation in electrons, of the same sensors at usual gain.
READ_NOISE_E = 4.0

_ENCODE_STEPS = 1 << 14


def dim(
    image_bgr: NDArray[np.uint8],
    light: float,
    rng: np.random.Generator,
    *,
    full_well_e: float = FULL_WELL_E,
    read_noise_e: float = READ_NOISE_E,
) -> NDArray[np.uint8]:
    """Return the photo as the same sensor would have taken it with `light` times the light.

    `image_bgr` is [H, W, 3] uint8 and sRGB-encoded (the channel order does not matter); it is not changed. `light` is
    in linear light, 0 < light <= 1: 0.25 is two stops down. Sensor noise is added for the light that is left, also at
    `light` 1, where it is faint. Deterministic for a given state of `rng`. Raises ImageError for an image of another
    form or a light out of range.
    """
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8:
        raise ImageError(
            "cannot dim this image",
            found=f"{image_bgr.dtype} {list(image_bgr.shape)}",
            expected="uint8 [H, W, 3]",
        )
    if not 0.0 < light <= 1.0:
        raise ImageError("cannot dim an image to this light", found=light, expected="a number above 0 and at most 1")
    electrons = (_electrons_per_code(full_well_e) * np.float32(light))[image_bgr]
    noise = rng.standard_normal(electrons.shape, dtype=np.float32)
    noise *= np.sqrt(electrons + np.float32(read_noise_e**2))
    electrons += noise
    electrons *= np.float32((_ENCODE_STEPS - 1) / full_well_e)
    steps = np.clip(electrons, 0, _ENCODE_STEPS - 1, out=electrons).astype(np.uint16)
    return _srgb_codes()[steps]


def srgb_to_linear(codes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Linear light 0 to 1 of sRGB values 0 to 1, of any shape (IEC 61966-2-1)."""
    values = np.asarray(codes, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: NDArray[np.floating]) -> NDArray[np.float64]:
    """SRGB values 0 to 1 of linear light 0 to 1, the inverse of `srgb_to_linear`."""
    values = np.asarray(light, np.float64)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


@lru_cache(maxsize=8)
def _electrons_per_code(full_well_e: float) -> NDArray[np.float32]:
    """Electrons [256] that an sRGB code stands for."""
    return (srgb_to_linear(np.arange(256) / 255.0) * full_well_e).astype(np.float32)


@lru_cache(maxsize=1)
def _srgb_codes() -> NDArray[np.uint8]:
    """The sRGB code [_ENCODE_STEPS] of each linear step."""
    codes = linear_to_srgb(np.arange(_ENCODE_STEPS) / (_ENCODE_STEPS - 1))
    return np.round(codes * 255.0).astype(np.uint8)
