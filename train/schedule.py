"""Learning rates over a run, and which parameter learns at which rate. Pure functions: nothing here has to be saved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from train.networks.network import Architecture

NEW, NO_DECAY = "random", " (no decay)"
"""Names of a group of parameters: of those that start random instead of a stage's, and what is added without decay."""


def rate_factor(
    step: int, steps: int, warmup_steps: int, schedule: Literal["cosine", "constant"] = "cosine", final: float = 0.01
) -> float:
    """Part of its base rate that every group learns at in `step` of `steps`: linear warm-up, then as `schedule` says.

    `cosine` falls along a half cosine to `final`; `constant` stays at 1.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass(slots=True)
class RateGroup:
    """Parameters that share a rate and a weight decay."""

    name: str
    rate: float
    weight_decay: float
    parameters: list[nn.Parameter]


def rate_groups(
    model: nn.Module,
    architecture: Architecture,
    loaded: frozenset[str],
    *,
    head_rate: float,
    backbone_rate: float,
    stage_decay: float,
    weight_decay: float,
) -> list[RateGroup]:
    """Discriminative rates: what starts random learns at `head_rate`, what was loaded at `backbone_rate`.

    The backbone rate falls by `stage_decay` with every stage towards the front. Biases and norms (fewer than two
    dimensions) get no weight decay. Frozen parameters (`requires_grad` False) are left out.
    """
    last = len(architecture.stages) - 1
    groups: dict[str, RateGroup] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        stage = architecture.stage_of(name)
        random = name not in loaded or stage == last
        rate = head_rate if random else backbone_rate * stage_decay ** (last - 1 - stage)
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        key = f"{NEW if random else architecture.stages[stage].name}{'' if decay else NO_DECAY}"
        groups.setdefault(key, RateGroup(key, rate, decay, [])).parameters.append(parameter)
    return list(groups.values())
