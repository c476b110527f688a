"""Light on batches: another exposure with sensor noise, and the device's brightness correction, sample by sample.

Both are the formulas of `smartbin.lowlight` and `smartbin.brightness` as plain torch operations, for training images on
a GPU. Images are float32 [N, 3, S, S] RGB that hold whole numbers from 0 to 255.
"""

from __future__ import annotations

import torch
from torch import Tensor

from smartbin.brightness import BrightnessSettings
from smartbin.lowlight import FULL_WELL_E, READ_NOISE_E
from train.augmentation.tensor_noise import random_normal

_LINEAR_STEPS = (1 << 14) - 1  # as smartbin.lowlight rounds linear light before it encodes
_BISECTIONS = 12
_SAMPLE_SIDE = 160
_LUMA_SHIFT = 14  # OpenCV's Rec. 601 luma in whole numbers
_LUMA = (4899, 9617, 1868)


def relight(images: Tensor, exposures: Tensor, gains: Tensor, binned: Tensor, seeds: Tensor) -> Tensor:
    """The images in other lights, by a noisy sensor; see `train.augmentation.lighting.relight`.

    Exposures [N] above 1 over-exposes, gains [N, 3] RGB in linear light, binned [N] sensor pixels a pixel, seeds [N].
    """
    full_well = FULL_WELL_E * 2.0 ** torch.round(torch.log2(binned.clamp(min=1)))
    read_variance = READ_NOISE_E**2 * full_well / FULL_WELL_E
    codes = torch.arange(256, device=images.device) / 255.0
    tinted = _decode(codes) * (gains * exposures.clamp(min=1)[:, None])[:, :, None]
    levels = torch.round(_encode(tinted.clamp(0, 1)) * 255)
    electrons_of = _decode(levels / 255) * (full_well * exposures.clamp(max=1))[:, None, None]
    flat = images.flatten(2)
    electrons = electrons_of.gather(2, flat.long())
    noise = random_normal(seeds, flat[0].numel()).view_as(flat)
    electrons = electrons + noise * torch.sqrt(electrons + read_variance[:, None, None])
    steps = (electrons * (_LINEAR_STEPS / full_well)[:, None, None]).clamp(0, _LINEAR_STEPS)
    encoded = torch.round(_encode(torch.arange(_LINEAR_STEPS + 1, device=images.device) / _LINEAR_STEPS) * 255)
    relit: Tensor = encoded[steps.long()].view_as(images)
    return relit


def correct_brightness(images: Tensor, settings: BrightnessSettings) -> Tensor:
    """The device's brightness correction, see `smartbin.brightness.correct`; images in band stay as they are."""
    if not settings.enabled:
        return images
    levels = torch.arange(256, device=images.device, dtype=torch.float64) / 255
    histogram = _luma_histogram(images)
    mean = histogram @ levels
    dark, bright = mean < settings.low_luma, mean > settings.high_luma
    target = torch.where(dark, settings.target_luma, settings.high_luma)
    gamma = torch.where(dark | bright, _gamma_for(histogram, levels, target, settings), 1.0)
    tables = torch.round(255 * levels ** gamma[:, None]).to(images.dtype)
    return tables.gather(1, images.flatten(1).long()).view_as(images)


def _gamma_for(histogram: Tensor, levels: Tensor, target: Tensor, settings: BrightnessSettings) -> Tensor:
    """Gamma [N] by bisection on its logarithm, to three digits."""
    low = torch.full_like(target, settings.min_gamma, dtype=torch.float64).log2()
    high = torch.full_like(target, settings.max_gamma, dtype=torch.float64).log2()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = (histogram * levels ** (2.0**middle)[:, None]).sum(1) > target
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    gamma: Tensor = torch.round(2.0 ** ((low + high) / 2), decimals=3)
    return gamma


def _luma_histogram(images: Tensor) -> Tensor:
    """Part of the pixels at each luma, float64 [N, 256]."""
    step = max(1, max(images.shape[2:]) // _SAMPLE_SIDE)
    red, green, blue = images[:, :, ::step, ::step].unbind(1)
    luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]  # below 2**24, so exact in float32
    places = ((luma.flatten(1) + 2 ** (_LUMA_SHIFT - 1)) / 2**_LUMA_SHIFT).floor().long()
    counts = torch.zeros(len(images), 256, device=images.device, dtype=torch.float64)
    counts.scatter_add_(1, places, torch.ones_like(places, dtype=torch.float64))  # whole numbers: any order is exact
    part: Tensor = counts / places.shape[1]
    return part


def _decode(codes: Tensor) -> Tensor:
    """Linear light of sRGB values 0 to 1 (IEC 61966-2-1)."""
    return torch.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def _encode(light: Tensor) -> Tensor:
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
