"""How steadily runs went, from the histories of their epochs: what unstable training looks like. Called by studies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from train.checkpoint import TrainedRun


def largest_fall(runs: Sequence[TrainedRun]) -> float | None:
    """The most that validation accuracy, of the plain weights, fell from an epoch to the next; None without a next."""
    pairs = [pair for run in runs for pair in pairwise(run.metrics.history)]
    return max((max(0.0, before.raw_val_accuracy - after.raw_val_accuracy) for before, after in pairs), default=None)


def highest_late_loss(runs: Sequence[TrainedRun]) -> float | None:
    """The highest running training loss after epoch 1; None without such an epoch."""
    return max((epoch.train_loss for run in runs for epoch in run.metrics.history[1:]), default=None)
