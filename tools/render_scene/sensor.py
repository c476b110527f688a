"""A small camera model: linear scene light in, the 8-bit picture of a cheap bin camera out.

In: linear RGB radiance, float32 [H, W, 3], from a renderer. Out: BGR uint8 and JPEG bytes. numpy and OpenCV only, so
the model can be tested and reused without a renderer. Called by `story` once for each frame, each time with another
seed.

Chain: vignette -> exposure -> colour of the light -> colour-filter mosaic -> shot, read and row noise -> quantisation
-> demosaic -> white balance -> chroma smoothing -> tone curve -> sharpening -> 8 bit. Noise is that of the
photon-transfer model (variance = signal + read noise squared, in electrons).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image8 = NDArray[np.uint8]
ImageF = NDArray[np.float32]

HEADROOM = 2.0
"""How far above 1.0 the scene may go before the sensor saturates; the tone curve brings it down to white."""


@dataclass(frozen=True, slots=True)
class CameraModel:
    """What the camera does to light. The defaults describe a small fixed-exposure board camera.

    exposure: value of linear radiance 1.0 before the tone curve (HEADROOM = saturated).
    full_well_e: electrons at saturation.  read_noise_e, row_noise_e: standard deviations in electrons.
    bits: converter resolution.
    wb_gains: red, green, blue gains that make white neutral; the raw signal is divided by them, so red and blue are
    noisier.
    vignette: light lost in the corners (0..1).
    chroma_sigma_px: smoothing of colour noise in light, doubled near darkness.
    sharpen: amount of unsharp mask.  jpeg_quality: 1..100.
    """

    exposure: float = 0.62
    full_well_e: float = 9000.0
    read_noise_e: float = 4.5
    row_noise_e: float = 1.0
    bits: int = 12
    wb_gains: tuple[float, float, float] = (1.75, 1.0, 1.55)
    vignette: float = 0.22
    chroma_sigma_px: float = 1.5
    sharpen: float = 0.55
    jpeg_quality: int = 85


def expose(
    radiance: ImageF, *, light: float = 1.0, warmth: float = 0.0, seed: int = 0, camera: CameraModel | None = None
) -> Image8:
    """Takes one picture: linear RGB float32 [H, W, 3] -> BGR uint8 [H, W, 3]; H and W even.

    `light` scales all light (1/16 is near-darkness); `warmth` shifts the light's colour towards red (+) or blue (-),
    about 0.1 is what a camera's white balance leaves. The same seed gives the same picture. Raises ValueError for a
    wrong shape or light <= 0.
    """
    model = camera or CameraModel()
    if radiance.ndim != 3 or radiance.shape[2] != 3 or radiance.shape[0] % 2 or radiance.shape[1] % 2:
        raise ValueError(f"radiance must be [even H, even W, 3], but got {radiance.shape}")
    if not light > 0:
        raise ValueError(f"light must be > 0, but got {light}")
    rng = np.random.default_rng(seed)
    tint = np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    scene = np.maximum(radiance, 0) * tint * (model.exposure * light) * _vignette(radiance.shape, model.vignette)
    rgb = _demosaic(_raw(scene.astype(np.float32), model, rng), model)
    smooth = model.chroma_sigma_px * (1.0 + np.clip(np.log2(1 / light) / 5, 0, 1))
    return _finish(rgb, smooth, model.sharpen)


def encode(image: Image8, quality: int | None = None) -> bytes:
    """JPEG bytes of a BGR picture, 4:2:0, at the camera's quality unless told. Raises RuntimeError when OpenCV
    cannot.
    """
    wanted = CameraModel().jpeg_quality if quality is None else quality
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, wanted, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    if not ok:
        raise RuntimeError(f"JPEG encoding failed for an image of shape {image.shape}")
    return bytes(data)


def _vignette(shape: tuple[int, ...], strength: float) -> ImageF:
    """Natural fall-off, float32 [H, W, 1]: 1 in the middle, 1 - strength in the corners."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    radius2 = ((x / (shape[1] - 1) - 0.5) ** 2 + (y / (shape[0] - 1) - 0.5) ** 2) * 2
    return np.asarray((1 - strength * radius2**1.3)[..., None], np.float32)


def _raw(scene: ImageF, model: CameraModel, rng: np.random.Generator) -> NDArray[np.uint16]:
    """The noisy RGGB mosaic, uint16 scaled so that 65535 is saturation, with a black level of 1024 that keeps
    negative noise.
    """
    gains = np.array(model.wb_gains, np.float32)
    signal = scene / gains / HEADROOM
    mosaic = signal[..., 1].copy()
    mosaic[0::2, 0::2] = signal[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = signal[1::2, 1::2, 2]
    electrons = rng.poisson(np.clip(mosaic, 0, 1.0) * model.full_well_e).astype(np.float32)
    electrons += rng.normal(0, model.read_noise_e, mosaic.shape).astype(np.float32)
    electrons += rng.normal(0, model.row_noise_e, (mosaic.shape[0], 1)).astype(np.float32)
    steps = 2**model.bits - 1
    digital = np.round(electrons / model.full_well_e * steps) / steps
    return np.asarray(np.clip(digital * (65535 - 1024) + 1024, 0, 65535), np.uint16)


def _demosaic(raw: NDArray[np.uint16], model: CameraModel) -> ImageF:
    """Linear, white-balanced RGB float32 [H, W, 3] from the mosaic."""
    # OpenCV names a pattern by its second row and column: RGGB is "BG" there.
    bgr = cv2.cvtColor(raw, cv2.COLOR_BayerBG2BGR_EA).astype(np.float32)
    linear = (bgr[..., ::-1] - 1024) / (65535 - 1024)
    balanced = linear * np.array(model.wb_gains, np.float32) * HEADROOM
    # Green saturates first; without this common ceiling a highlight would come out pink.
    return np.asarray(np.minimum(balanced, HEADROOM), np.float32)


def _finish(rgb: ImageF, chroma_sigma_px: float, sharpen: float) -> Image8:
    """Colour smoothing, tone curve, sharpening; linear RGB -> BGR uint8."""
    curve = _tone(np.clip(rgb, 0, 4))
    ycc = cv2.cvtColor(curve, cv2.COLOR_RGB2YCrCb)
    luma = ycc[..., 0]
    ycc[..., 1:] = cv2.GaussianBlur(ycc[..., 1:], (0, 0), chroma_sigma_px)
    ycc[..., 0] = luma + sharpen * (luma - cv2.GaussianBlur(luma, (0, 0), 1.1))
    bgr = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2BGR)
    return np.asarray(np.clip(np.round(bgr * 255), 0, 255), np.uint8)


def _tone(linear: ImageF) -> ImageF:
    """sRGB transfer with a soft shoulder: linear up to 0.6, then bent so that HEADROOM just reaches white."""
    knee, top = 0.6, HEADROOM
    over = np.clip((linear - knee) / (top - knee), 0, 1)
    # A quadratic that leaves the knee with slope 1 would overshoot; this exponential reaches 1 smoothly.
    bent = np.where(linear > knee, knee + (1 - knee) * (1 - np.exp(-3.5 * over)) / (1 - np.exp(-3.5)), linear)
    srgb = np.where(bent <= 0.0031308, 12.92 * bent, 1.055 * np.power(np.maximum(bent, 1e-6), 1 / 2.4) - 0.055)
    return np.asarray(srgb, np.float32)
