"""Figures of a run: how a set of photos was classified, and the history of the epochs. Written to `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from smartbin.calibration import confusion_matrix, log_softmax, macro_f1, softmax, wilson_interval


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassScore(_Record):
    """Figures of one class; precision is None where nothing was predicted as it."""

    label: str
    photos: int
    precision: float | None
    recall: float | None
    f1: float | None


class Score(_Record):
    """How a set of photos was classified. The interval is Wilson's, 95 %."""

    photos: int
    correct: int
    accuracy: float
    interval_low: float
    interval_high: float
    macro_f1: float
    loss: float
    per_class: list[ClassScore]
    confusion: list[list[int]]
    """Row the true class, column the predicted one."""


class SourceScore(_Record):
    """The figures on the photos of one source, where a set has several."""

    source: str
    score: Score


class GroupRate(_Record):
    """Learning rate of a group of parameters."""

    name: str
    rate: float


class Timing(_Record):
    """Where the time of an epoch's training steps went: milliseconds a photo, mean over the measured steps."""

    waiting_ms: float
    """Until the next batch was there."""
    input_ms: float
    """Copy to the device, normalisation, mixing."""
    forward_ms: float
    backward_ms: float
    optimizer_ms: float
    """With gradient clipping and the moving average."""
    measured_photos: int
    validation_s: float
    """Scoring the validation photos, seconds an epoch."""

    def parts(self) -> dict[str, float]:
        """Milliseconds a photo by name, in the order in which they happen."""
        return {
            "waiting for data": self.waiting_ms,
            "input": self.input_ms,
            "forward": self.forward_ms,
            "backward": self.backward_ms,
            "optimizer": self.optimizer_ms,
        }


class Epoch(_Record):
    """One epoch. Losses are mean cross-entropies a photo, without label smoothing."""

    epoch: int
    train_loss: float
    """Running mean over the augmented training photos, network in training mode."""
    train_objective: float
    """The same with label smoothing, mixing and the auxiliary head: what is minimised."""
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    raw_val_loss: float
    """Of the plain weights; the three above are of their moving average."""
    raw_val_accuracy: float
    raw_val_macro_f1: float
    rate: float
    """Learning rate of the head in the last step."""
    seconds: float
    """Of training, loading included; also of what was done before the run was stopped in this epoch."""
    images_per_second: float
    """Training photos in these seconds."""
    rates: list[GroupRate] = []
    """Of every group of parameters in the last step; empty in records of version 0.1."""
    timing: Timing | None = None
    plain_train_loss: float | None = None
    """Of some training photos, always the same ones, scored as the validation photos are: without augmentation, in
    evaluation mode, with the weights that `val_loss` is of. None if that is switched off."""


class LossParts(_Record):
    """Mean cross-entropies of the delivered weights on the same training photos, with one cause of a higher loss each.

    `plain` is scored as validation photos are. Then alone: augmentation; dropout with stochastic depth; statistics of
    the batch instead of the running ones. Then the last two together, and everything. Frozen parts stay in evaluation
    mode, as they do in training; there is no label smoothing or mixing. The last two figures are those of the plain
    weights where an average is delivered: the difference from `plain` and `augmented_training` is what averaging does.
    """

    photos: int
    plain: float
    augmented: float
    dropout: float
    batch_statistics: float
    training: float
    augmented_training: float
    not_averaged: float | None
    not_averaged_training: float | None


class Delivery(_Record):
    """Whose weights a run delivers, and why it ended."""

    epoch: int
    """The epoch that they are of."""
    epochs_trained: int
    epochs_planned: int
    averaged: bool
    """Whether they are the moving average."""
    picked_by_validation: bool
    patience: int
    blend: float = 0.0
    """Part of other weights in what is delivered."""
    blended_with: str = ""
    """Name of the run whose weights these are; empty: the starting weights."""

    def describe(self) -> str:
        """For the report: one to three sentences."""
        what = "the moving average" if self.averaged else "the plain weights"
        text = f"The weights are {what} after epoch {self.epoch} of {self.epochs_trained}"
        if self.picked_by_validation:
            text += ", picked because it was the best on these validation photos, which flatters their figures"
        else:
            text += "; no epoch was picked by validation"
        if self.epochs_trained < self.epochs_planned:
            text += f". The run stopped early: {self.patience} epochs brought nothing better"
            text += f", of {self.epochs_planned} that were planned"
        if self.blend:
            other = f"the weights of the run {self.blended_with}" if self.blended_with else "the starting weights"
            text += f". What is delivered is a blend: {1 - self.blend:.2f} of these and {self.blend:.2f} of {other}"
            text += "; the figures of single epochs are from before it"
        return text + "."


class RunMetrics(_Record):
    """All figures of a finished run. `train` is scored without augmentation, through the device preprocessing."""

    history: list[Epoch]
    train: Score
    val: Score
    test: Score | None
    val_sources: list[SourceScore] = []
    test_sources: list[SourceScore] = []
    """Each source alone; empty for a run on one source."""
    seconds: float
    set_up_seconds: float = 0.0
    """Of these, before the first epoch: the head's probe, cut-outs of items, what a frozen front makes of the photos,
    if an earlier run has not kept it. Not in records of version 0.1."""
    device: str
    precision: str
    delivery: Delivery | None = None
    """None in records of version 0.1: the moving average of the last epoch."""
    loss_parts: LossParts | None = None
    """None if switched off."""
    software: str = ""
    starting_weights: str = ""

    @property
    def images_per_second(self) -> float:
        """Training photos a second, mean over the epochs; 0 if there was none."""
        return sum(epoch.images_per_second for epoch in self.history) / max(1, len(self.history))


@dataclass(frozen=True, slots=True)
class Outputs:
    """Logits [N, C] and labels [N] of N photos, in their order."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """[N, C]"""
        return softmax(self.logits)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the likeliest class, [N]."""
        return np.asarray(self.logits.argmax(axis=1), np.int64)


def score(outputs: Outputs, classes: Sequence[str]) -> Score:
    """All figures of a set of one or more photos."""
    labels = outputs.labels
    losses = -log_softmax(outputs.logits)[np.arange(len(labels)), labels]
    return _score(confusion_matrix(labels, outputs.predicted, len(classes)), float(losses.mean()), classes)


def pooled(scores: Sequence[Score], *, same_photos: bool = False) -> Score:
    """The figures of one or more sets of photos together, all of the same classes.

    With `same_photos` several networks saw one set: the interval is that of one set, since the networks err alike.
    """
    if len(scores) == 1:
        return scores[0]
    photos = sum(item.photos for item in scores)
    matrix = np.asarray([item.confusion for item in scores], np.int64).sum(axis=0)
    loss = sum(item.loss * item.photos for item in scores) / photos
    together = _score(matrix, loss, [entry.label for entry in scores[0].per_class])
    if not same_photos:
        return together
    low, high = wilson_interval(round(together.correct / len(scores)), scores[0].photos)
    return together.model_copy(update={"interval_low": low, "interval_high": high})


def score_sources(outputs: Outputs, classes: Sequence[str], sources: Sequence[str]) -> list[SourceScore]:
    """The figures of each source alone, in the order of their first photos; `sources` [N] names each photo's.

    Empty when all are of one.
    """
    names = list(dict.fromkeys(sources))
    if len(names) < 2:
        return []
    masks = {name: np.asarray([source == name for source in sources]) for name in names}
    return [
        SourceScore(source=name, score=score(Outputs(outputs.logits[mask], outputs.labels[mask]), classes))
        for name, mask in masks.items()
    ]


def _score(matrix: NDArray[np.int64], loss: float, classes: Sequence[str]) -> Score:
    """From the confusion matrix and the mean loss of a photo."""
    photos, correct = int(matrix.sum()), int(np.trace(matrix))
    low, high = wilson_interval(correct, photos)
    return Score(
        photos=photos,
        correct=correct,
        accuracy=correct / photos,
        interval_low=low,
        interval_high=high,
        macro_f1=macro_f1(matrix),
        loss=loss,
        per_class=[_class_score(label, index, matrix) for index, label in enumerate(classes)],
        confusion=matrix.tolist(),
    )


def _class_score(label: str, index: int, matrix: NDArray[np.int64]) -> ClassScore:
    hits, photos, claimed = int(matrix[index, index]), int(matrix[index].sum()), int(matrix[:, index].sum())
    return ClassScore(
        label=label,
        photos=photos,
        precision=hits / claimed if claimed else None,
        recall=hits / photos if photos else None,
        f1=2 * hits / (photos + claimed) if photos else None,
    )
