"""What the augmentation does to a batch, as arrays that travel to the device in one go.

`train/augmentation/draws.py` draws them; no pixel is among them. Where an operation concerns some samples only, their
places in the batch are listed here: looking for them on the device would make the CPU wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from train.augmentation.config import Augment
from train.augmentation.draws import Box, Draw, Operation, draw
from train.loader import SampleKey


class Plan(NamedTuple):
    """A batch of N samples; the first three stay on the CPU, the rest goes to the device."""

    photos: Tensor
    """int64 [N], places in the list of photos."""
    boxes: Tensor
    """int64 [N, 4]: top, left, height, width of the crop in the photo."""
    groups: list[tuple[int, Operation, int, int]]
    """Round, operation, and the part of `colour_rows` that it concerns: first, end."""
    labels: Tensor
    turns: Tensor
    """bool [N, 3]: mirrored across, mirrored down, turned by a quarter."""
    colour_rows: Tensor
    """int64, places in the batch, group after group."""
    amounts: Tensor
    """float32, of those."""
    erased_rows: Tensor
    erased: Tensor
    """int64 [E, 4]: top, left, height, width in the square."""
    lit_rows: Tensor
    exposures: Tensor
    gains: Tensor
    """float32 [L, 3] RGB, with `exposures` [L] and `binned` [L] of the samples in another light."""
    binned: Tensor
    seeds: Tensor
    """int64 [N], of all noise."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Draws what happens to samples: `labels` and `sizes` (height, width) of the photos, in their order."""

    labels: Sequence[int]
    sizes: Sequence[tuple[int, int]]
    settings: Augment
    size: int

    def plan(self, keys: Sequence[SampleKey]) -> Plan:
        """The plan of a batch."""
        draws = [draw(self.settings, *self.sizes[key.photo], self.size, key.seed) for key in keys]
        erased = [(row, drawn.erased) for row, drawn in enumerate(draws) if drawn.erased is not None]
        lit = [(row, drawn.light) for row, drawn in enumerate(draws) if drawn.light is not None]
        groups, rows, amounts = _grouped(draws)
        return Plan(
            photos=_whole([key.photo for key in keys]),
            boxes=_boxes([drawn.box for drawn in draws]),
            groups=groups,
            labels=_whole([self.labels[key.photo] for key in keys]),
            turns=torch.tensor([[drawn.across, drawn.down, drawn.turn] for drawn in draws]),
            colour_rows=_whole(rows),
            amounts=torch.tensor(amounts, dtype=torch.float32),
            erased_rows=_whole([row for row, _ in erased]),
            erased=_boxes([box for _, box in erased]),
            lit_rows=_whole([row for row, _ in lit]),
            exposures=torch.tensor([light.exposure for _, light in lit], dtype=torch.float32),
            gains=torch.tensor([light.gains_bgr[::-1] for _, light in lit], dtype=torch.float32).view(-1, 3),
            binned=torch.tensor([draws[row].binned(self.size) for row, _ in lit], dtype=torch.float32),
            seeds=_whole([drawn.noise_seed for drawn in draws]),
        )


def to_device(plan: Plan, device: torch.device) -> Plan:
    """The plan with what the device needs on it."""
    moved = partial(queue_copy, device=device)
    return plan._replace(
        labels=moved(plan.labels),
        turns=moved(plan.turns),
        colour_rows=moved(plan.colour_rows),
        amounts=moved(plan.amounts),
        erased_rows=moved(plan.erased_rows),
        erased=moved(plan.erased),
        lit_rows=moved(plan.lit_rows),
        exposures=moved(plan.exposures),
        gains=moved(plan.gains),
        binned=moved(plan.binned),
        seeds=moved(plan.seeds),
    )


def queue_copy(value: Tensor, device: torch.device) -> Tensor:
    """A copy on the device, which the CPU does not wait for: a GPU fetches it from page-locked memory by itself."""
    return (value.pin_memory() if device.type == "cuda" else value).to(device, non_blocking=True)


def _grouped(draws: Sequence[Draw]) -> tuple[list[tuple[int, Operation, int, int]], list[int], list[float]]:
    """Round by round the samples that get the same operation, which then runs once for all of them."""
    groups: list[tuple[int, Operation, int, int]] = []
    rows: list[int] = []
    amounts: list[float] = []
    for number in range(max((len(drawn.colours) for drawn in draws), default=0)):
        steps = {row: drawn.colours[number] for row, drawn in enumerate(draws) if number < len(drawn.colours)}
        for operation in sorted({step.operation for step in steps.values()} - {"identity"}):
            members = [row for row, step in steps.items() if step.operation == operation]
            groups.append((number, operation, len(rows), len(rows) + len(members)))
            rows += members
            amounts += [steps[row].amount for row in members]
    return groups, rows, amounts


def _boxes(boxes: Sequence[Box]) -> Tensor:
    return _whole([(box.top, box.left, box.height, box.width) for box in boxes]).view(-1, 4)


def _whole(values: Sequence[int] | Sequence[tuple[int, ...]]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.int64))
