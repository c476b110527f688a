"""What a training step minimises, and the plain loss that is logged beside it."""

from __future__ import annotations

from torch import Tensor, nn

from train.networks import split_outputs
from train.recipe import Recipe


def objectives(outputs: object, targets: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """What is minimised and the plain cross-entropy (detached), both means over a batch.

    `outputs` are what a network of the registry returned in training mode, `targets` classes [N] or their parts [N, C].
    """
    logits, auxiliary = split_outputs(outputs)
    minimised = nn.functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
    if auxiliary is not None and recipe.auxiliary:
        extra = nn.functional.cross_entropy(auxiliary, targets, label_smoothing=recipe.label_smoothing)
        minimised = minimised + recipe.auxiliary * extra
    return minimised, nn.functional.cross_entropy(logits.detach(), targets)
