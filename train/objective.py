"""What a training step minimises, and the plain loss that is logged beside it."""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.network import split_outputs
from train.recipe import Recipe


def objectives(
    outputs: object, targets: Tensor, recipe: Recipe, soft_targets: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What is minimised and the plain cross-entropy (detached), both means over a batch.

    `outputs` are what a network of the registry returned in training mode, `targets` classes [N] or their parts [N, C],
    `soft_targets` the teachers' probabilities [N, C] at the temperature of the recipe.
    """
    logits, auxiliary = split_outputs(outputs)
    minimised = nn.functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
    if auxiliary is not None and recipe.auxiliary:
        extra = nn.functional.cross_entropy(auxiliary, targets, label_smoothing=recipe.label_smoothing)
        minimised = minimised + recipe.auxiliary * extra
    if soft_targets is not None:
        answers = (logits.float() / recipe.distill_temperature).log_softmax(dim=1)
        # The square keeps the gradients' size when the temperature changes (arXiv 1503.02531, section 2)
        distance = nn.functional.kl_div(answers, soft_targets, reduction="batchmean") * recipe.distill_temperature**2
        minimised = (1 - recipe.distill_weight) * minimised + recipe.distill_weight * distance
    return minimised, nn.functional.cross_entropy(logits.detach(), targets)
