"""The optimizer of a run, from the recipe: which of three, and at which rate each group of parameters learns."""

from __future__ import annotations

import torch
from torch import nn

from train.networks.network import Architecture
from train.recipe import Recipe
from train.schedule import rate_groups


def make_optimizer(
    model: nn.Module, architecture: Architecture, loaded: frozenset[str], recipe: Recipe
) -> torch.optim.Optimizer:
    """An optimizer over everything that is trained; `loaded` are the entries that started from loaded weights.

    Fused: one kernel for all parameters, where each of hundreds would have several of its own.
    """
    groups = rate_groups(
        model,
        architecture,
        loaded,
        head_rate=recipe.head_rate,
        backbone_rate=recipe.backbone_rate,
        stage_decay=recipe.stage_decay,
        weight_decay=recipe.weight_decay,
    )
    entries = [
        {"params": group.parameters, "lr": group.rate, "weight_decay": group.weight_decay, "name": group.name}
        for group in groups
    ]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(entries, fused=True)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(entries, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True)
    return torch.optim.AdamW(entries, fused=True)
