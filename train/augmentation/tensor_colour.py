"""The colour and shape operations of the augmentation on batches, each sample with an amount of its own.

The same as `train/augmentation/colour.py` does to one image, rounding included where PIL rounds in an odd way, so that
a seed gives the same image either way, to a level or two. Images are float32 [N, 3, S, S] RGB that hold whole numbers,
0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from train.augmentation.colour import FILL
from train.augmentation.draws import Operation

_LUMA = (19595, 38470, 7471)  # PIL's, of 65536
_NEARLY = 1e-3  # so that a sum that float32 left just below a whole number is not rounded down


def _blend(plain: Tensor | float, images: Tensor, factors: Tensor) -> Tensor:
    """PIL's blend of an image with a plain version of it; it cuts off fractions."""
    mixed = plain + factors[:, None, None, None] * (images - plain)
    return (mixed + _NEARLY).floor().clamp(0, 255)


def _grey(images: Tensor) -> Tensor:
    """Luma [N, 1, S, S], whole numbers."""
    red, green, blue = images[:, :, None].unbind(1)
    return ((red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2] + 0x8000) / 65536).floor_()


def _brightness(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(0.0, images, factors)


def _saturation(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(_grey(images), images, factors)


def _contrast(images: Tensor, factors: Tensor) -> Tensor:
    mean = _grey(images).double().mean(dim=(1, 2, 3), keepdim=True)
    return _blend((mean + 0.5).floor().to(images.dtype), images, factors)


def _sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Away from PIL's SMOOTH filter, which leaves the outermost pixels alone."""
    kernel = torch.ones(9, device=images.device, dtype=images.dtype)
    kernel[4:5].fill_(5)  # `kernel[4] = 5` would make the CPU wait for a GPU
    inner = F.conv2d(images, (kernel / 13).view(3, 3).expand(3, 1, 3, 3), groups=3)
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = (inner + 0.5 + _NEARLY / 10).floor()
    return _blend(smooth, images, factors)


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    step = 2.0 ** (8 - bits)[:, None, None, None]
    return (images / step).floor() * step


def _solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    return torch.where(images < thresholds[:, None, None, None], images, 255 - images)


def _autocontrast(images: Tensor, unused: Tensor) -> Tensor:
    del unused
    flat = images.flatten(2)
    low, high = flat.amin(2, keepdim=True).double(), flat.amax(2, keepdim=True).double()
    scale = 255 / (high - low).clamp(min=1)
    levels = torch.arange(256, device=images.device, dtype=torch.float64)
    stretched = (levels * scale - low * scale).trunc().clamp(0, 255)
    return _look_up(images, torch.where(high > low, stretched, levels))


def _equalize(images: Tensor, unused: Tensor) -> Tensor:
    """PIL's: the histogram's running sum in steps of a 255th of all pixels but the brightest ones."""
    del unused
    places = images.flatten(2).long()
    counts = torch.zeros(*places.shape[:2], 256, device=images.device, dtype=torch.int64)
    counts.scatter_add_(2, places, torch.ones_like(places))
    last = counts.gather(2, places.amax(2, keepdim=True))
    step = (places.shape[2] - last) // 255
    before = counts.cumsum(2) - counts
    levels = torch.arange(256, device=images.device)
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    return _look_up(images, torch.where(step > 0, table, levels))


def _look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Each channel through its table [N, 3, 256]."""
    return tables.to(images.dtype).gather(2, images.flatten(2).long()).view_as(images)


def _hue(images: Tensor, parts: Tensor) -> Tensor:
    """Turn the hue as PIL does in its HSV with 256 hues."""
    highest, lowest = images.amax(1), images.amin(1)
    spread = (highest - lowest).clamp(min=1)
    red, green, blue = ((highest - channel) / spread for channel in images.unbind(1))
    sixths = torch.where(
        images[:, 0] == highest, blue - green, torch.where(images[:, 1] == highest, 2 + red - blue, 4 + green - red)
    )
    shifts = (parts * 255).trunc()[:, None, None]
    hue = (torch.remainder(torch.floor(torch.remainder(sixths / 6, 1) * 255) + shifts, 256)) * (6 / 255)
    # f(n) = V - C * clamp(min(k, 4 - k), 0, 1) with k = (n + hue) mod 6, for n = 5, 3, 1
    channels = [torch.remainder(hue + number, 6) for number in (5, 3, 1)]
    turned = [highest - (highest - lowest) * torch.minimum(k, 4 - k).clamp(0, 1) for k in channels]
    return torch.stack([torch.round(channel) for channel in turned], dim=1)


def _warp(images: Tensor, rows: Tensor) -> Tensor:
    """Bilinear sampling at `rows` [N, 2, 3] times (x, y, 1) in pixels, pixel centres at halves; outside is `FILL`."""
    side = images.shape[-1]
    centres = torch.arange(side, device=images.device, dtype=images.dtype) + 0.5
    down, across = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack([across, down, torch.ones_like(across)]).flatten(1)
    found = (rows @ places).view(-1, 2, side, side).permute(0, 2, 3, 1)
    sampled = F.grid_sample(images, found * (2 / side) - 1, padding_mode="border", align_corners=False)
    inside = ((found >= 0) & (found < side)).all(dim=3)[:, None]
    return torch.where(inside, (sampled + _NEARLY).floor(), float(FILL))


def _rows(amounts: Tensor, **entries: Tensor) -> Tensor:
    """Matrices [N, 2, 3]: the identity with some entries replaced, named `xx`, `xy`, `x1`, `yx`, `yy`, `y1`."""
    matrix = torch.eye(2, 3, device=amounts.device).repeat(len(amounts), 1, 1)
    for name, value in entries.items():
        matrix[:, "xy".index(name[0]), "xy1".index(name[1])] = value
    return matrix


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    angle, middle = torch.deg2rad(degrees), images.shape[-1] / 2
    cos, sin = torch.cos(angle), torch.sin(angle)
    x1, y1 = middle - middle * cos + middle * sin, middle - middle * sin - middle * cos
    return _warp(images, _rows(degrees, xx=cos, xy=-sin, x1=x1, yx=sin, yy=cos, y1=y1))


OPERATIONS: Mapping[Operation, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "shear_x": lambda images, slopes: _warp(images, _rows(slopes, xy=slopes)),
        "shear_y": lambda images, slopes: _warp(images, _rows(slopes, yx=slopes)),
        "translate_x": lambda images, pixels: _warp(images, _rows(pixels, x1=-pixels)),
        "translate_y": lambda images, pixels: _warp(images, _rows(pixels, y1=-pixels)),
        "rotate": _rotate,
        "brightness": _brightness,
        "saturation": _saturation,
        "contrast": _contrast,
        "sharpness": _sharpness,
        "posterize": _posterize,
        "solarize": _solarize,
        "autocontrast": _autocontrast,
        "equalize": _equalize,
        "hue": _hue,
    }
)
"""(images [N, 3, S, S], amounts [N]) to images, for every operation that changes something."""
