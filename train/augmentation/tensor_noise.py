"""Random numbers as a function of a seed and a place, for whole batches: the same on every device.

PyTorch draws a batch from one generator, so that a sample's noise would depend on its neighbours. Here each number is
a hash of its sample's seed and its own place (SplitMix64, Steele et al. 2014), in 64-bit integers, so that a CPU and a
GPU agree to the last bit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def random_bits(seeds: Tensor, count: int) -> Tensor:
    """64 random bits each, int64 [N, count], for seeds int64 [N]."""
    places = torch.arange(1, count + 1, device=seeds.device, dtype=torch.int64)
    mixed = seeds[:, None] + places * _signed(_GOLDEN)
    mixed = (mixed ^ _shifted(mixed, 30)) * _signed(_FIRST)
    mixed = (mixed ^ _shifted(mixed, 27)) * _signed(_SECOND)
    return mixed ^ _shifted(mixed, 31)


def random_levels(seeds: Tensor, count: int) -> Tensor:
    """Evenly distributed whole numbers from 0 to 255 as float32 [N, count]."""
    return _shifted(random_bits(seeds, count), 56).float()


def random_normal(seeds: Tensor, count: int) -> Tensor:
    """Normally distributed float32 [N, count], by the polar form of Box and Muller: two from each 64 bits."""
    bits = random_bits(seeds, (count + 1) // 2)
    radius = torch.sqrt(-2 * torch.log((_shifted(bits, 40).float() + 1) * 2.0**-24))
    angle = ((bits >> 8) & 0xFFFFFF).float() * (2 * math.pi * 2.0**-24)
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift to the right and fill with zeros; torch fills with the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _signed(constant: int) -> int:
    return constant - 2**64 if constant >= 2**63 else constant
