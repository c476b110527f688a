"""When a run ends and whose weights it delivers: functions of its history alone, so that a resumed run agrees.

The yardstick is the macro F1 on the validation photos; of equal epochs the earlier one is the better.
"""

from __future__ import annotations

from collections.abc import Sequence

from train.metrics import Delivery, Epoch
from train.recipe import Recipe


def best_epoch(history: Sequence[Epoch]) -> int:
    """Number of the best of one or more epochs; the first is 1."""
    best = max(history, key=lambda record: (record.val_macro_f1, -record.epoch))
    return best.epoch


def has_stopped_early(history: Sequence[Epoch], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing better; never if that is 0."""
    return bool(patience and history) and history[-1].epoch - best_epoch(history) >= patience


def describe_delivery(history: Sequence[Epoch], recipe: Recipe, epochs: int) -> Delivery:
    """What a run of at most `epochs` epochs, which has now ended, delivers."""
    last = history[-1].epoch
    return Delivery(
        epoch=best_epoch(history) if recipe.deliver == "best" else last,
        epochs_trained=last,
        epochs_planned=epochs,
        averaged=recipe.ema_decay > 0,
        picked_by_validation=recipe.deliver == "best",
        patience=recipe.patience,
        blend=recipe.blend,
        blended_with=recipe.blend_with.name if recipe.blend_with else "",
    )
