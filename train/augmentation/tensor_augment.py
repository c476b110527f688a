"""Training augmentation of a whole batch on the device: the same as `augment.py`, with plain torch operations.

In: photos as they lie in the device's memory, and a `Plan`. Out: uint8 [N, S, S, 3] RGB. A sample's result follows from
its photo and its seed; it does not depend on the rest of the batch. Nothing in here makes the CPU wait for the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from smartbin.brightness import BrightnessSettings
from train.augmentation.plans import Plan, queue_copy
from train.augmentation.tensor_colour import OPERATIONS
from train.augmentation.tensor_light import correct_brightness, relight
from train.augmentation.tensor_noise import random_levels

_AT_ONCE = 64  # photos that are unpacked to float32 at a time
_OTHER_STREAM = 0x5DEECE66D  # seeds of the erased parts' noise differ from those of the sensor's


def augment_batch(
    photos: Sequence[Tensor], plan: Plan, size: int, brightness: BrightnessSettings, largest: tuple[int, int]
) -> Tensor:
    """Crop, flip and turn, change colours, erase, relight, correct the brightness: uint8 [N, S, S, 3] RGB.

    `photos` are uint8 [H, W, 3] BGR on the device, one a sample; `plan` is on the device (`to_device`). `largest` is
    the height of the highest and the width of the widest photo that may ever come.
    """
    images = _turned(crop_and_resize(photos, plan.boxes.tolist(), size, largest), plan.turns)
    for _, operation, first, end in plan.groups:
        rows = plan.colour_rows[first:end]
        images.index_copy_(0, rows, OPERATIONS[operation](images.index_select(0, rows), plan.amounts[first:end]))
    if len(plan.erased_rows):
        images.index_copy_(0, plan.erased_rows, _erased(images.index_select(0, plan.erased_rows), plan))
    if len(plan.lit_rows):
        chosen, seeds = images.index_select(0, plan.lit_rows), plan.seeds.index_select(0, plan.lit_rows)
        images.index_copy_(0, plan.lit_rows, relight(chosen, plan.exposures, plan.gains, plan.binned, seeds))
    lit = correct_brightness(images, brightness)
    return lit.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def crop_and_resize(
    photos: Sequence[Tensor], boxes: Sequence[Sequence[int]], size: int, largest: tuple[int, int]
) -> Tensor:
    """Each photo's box as a square: float32 [N, 3, S, S] RGB of whole numbers; `smartbin.preprocess.resize_square`.

    Area averaging and bilinear sampling both are matrix products, from the left for the rows, from the right for the
    columns. The matrices are as large as the `largest` photo, so that a sample's sums do not depend on its neighbours.
    """
    device = photos[0].device
    height, width = largest
    parts = []
    for start in range(0, len(photos), _AT_ONCE):
        some = boxes[start : start + _AT_ONCE]
        canvas = torch.zeros(len(some), height, width, 3, dtype=torch.uint8, device=device)
        for place, (photo, box) in enumerate(zip(photos[start : start + _AT_ONCE], some, strict=True)):
            top, left, box_height, box_width = box
            canvas[place, :box_height, :box_width] = photo[top : top + box_height, left : left + box_width]
        shrinks = [box[2] >= size and box[3] >= size for box in some]
        rows = _weights([box[2] for box in some], shrinks, height, size, device)
        columns = _weights([box[3] for box in some], shrinks, width, size, device)
        pixels = canvas.permute(0, 3, 1, 2).float()
        parts.append(rows[:, None] @ pixels @ columns[:, None].transpose(2, 3))
    return _rounded(torch.cat(parts)).flip(1)


def _weights(lengths: Sequence[int], shrinks: Sequence[bool], most: int, size: int, device: torch.device) -> Tensor:
    """Matrices [N, size, most] that turn `length` pixels into `size`."""
    length, shrink = queue_copy(torch.tensor([lengths, shrinks], dtype=torch.float32), device)[:, :, None]
    scale, out = length / size, torch.arange(size, device=device)
    low, high = out * scale, (out + 1) * scale
    pixel = torch.arange(most, device=device)
    overlap = torch.minimum(high[:, :, None], pixel + 1) - torch.maximum(low[:, :, None], pixel)
    centre = torch.minimum(((out + 0.5) * scale - 0.5).clamp(min=0), length - 1)
    nearness = 1 - (centre[:, :, None] - pixel).abs()
    weights = torch.where(shrink[:, :, None] > 0, overlap / scale[:, :, None], nearness).clamp(min=0)
    return torch.where(pixel < length[:, :, None], weights, 0.0)


def _rounded(values: Tensor) -> Tensor:
    """To whole numbers; a hair upwards, so that a half does not fall either way by a float32's last digit."""
    return (values + 0.5 + 2.0**-12).floor().clamp(0, 255)


def _turned(images: Tensor, turns: Tensor) -> Tensor:
    """Mirror across, then down, then turn by a quarter as `numpy.rot90` does."""
    across, down, turn = turns[:, :, None, None, None].unbind(1)
    images = torch.where(across, images.flip(3), images)
    images = torch.where(down, images.flip(2), images)
    return torch.where(turn, images.transpose(2, 3).flip(2), images)


def _erased(images: Tensor, plan: Plan) -> Tensor:
    """A rectangle of each image filled with noise."""
    top, left, height, width = plan.erased.T[:, :, None, None, None]
    side = torch.arange(images.shape[-1], device=images.device)
    down, across = side[:, None], side
    inside = (down >= top) & (down < top + height) & (across >= left) & (across < left + width)
    seeds = plan.seeds.index_select(0, plan.erased_rows) ^ _OTHER_STREAM
    return torch.where(inside, random_levels(seeds, images[0].numel()).view_as(images), images)
