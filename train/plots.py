"""The pictures of a report, as PNG bytes: learning curves, confusion matrix, gallery of mistakes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smartbin.images import BgrImage, LabelledPhoto, read_image
from train.metrics import RunMetrics, Score
from train.predictions import PhotoPrediction

_COLUMNS = 6
_THUMBNAIL = 256  # pixels, the longer side


def curves_png(metrics: RunMetrics) -> bytes:
    """Loss, accuracy and learning rate over the epochs."""
    history = metrics.history
    epochs = [record.epoch for record in history]
    figure = Figure(figsize=(13, 4), layout="constrained")
    losses, accuracies, rates = figure.subplots(1, 3, sharex=True)
    losses.plot(epochs, [record.train_loss for record in history], label="training, augmented", marker=".")
    losses.plot(epochs, [record.val_loss for record in history], label="validation", marker=".")
    losses.axhline(metrics.train.loss, label="training at the end, not augmented", color="tab:blue", linestyle=":")
    losses.set_ylim(bottom=0)
    losses.set_xlim(0.5, len(history) + 0.5)
    _label(losses, "cross-entropy", "Loss")
    accuracies.plot(epochs, [record.val_accuracy for record in history], label="accuracy", marker=".")
    accuracies.plot(epochs, [record.val_macro_f1 for record in history], label="macro F1", marker=".")
    raw = [record.raw_val_accuracy for record in history]
    accuracies.plot(epochs, raw, label="accuracy, plain weights", color="tab:blue", alpha=0.35)
    _label(accuracies, "validation", "Validation (moving average of the weights)")
    rates.plot(epochs, [record.rate for record in history], label="head", marker=".")
    _label(rates, "learning rate", "Learning rate at the end of the epoch")
    return figure_png(figure)


def confusion_png(score: Score) -> bytes:
    """Counts, coloured by the part of the true class."""
    counts = np.array(score.confusion)
    parts = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [entry.label for entry in score.per_class]
    side = 2.5 + 0.65 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if parts[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{score.correct} of {score.photos} right ({score.accuracy:.1%})")
    return figure_png(figure)


def mistakes_png(mistakes: Sequence[tuple[LabelledPhoto, PhotoPrediction]]) -> bytes:
    """Photos that were taken for another class, as given; one page."""
    rows = max(1, math.ceil(len(mistakes) / _COLUMNS))
    figure = Figure(figsize=(2.3 * _COLUMNS, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    if not mistakes:
        figure.suptitle("no mistakes")
    for axes, (photo, prediction) in zip(panels, mistakes, strict=False):
        axes.imshow(cv2.cvtColor(_thumbnail(read_image(photo.path)), cv2.COLOR_BGR2RGB))
        axes.set_title(
            f"{photo.path.name}\n{prediction.label} → {prediction.predicted} {prediction.confidence:.0%}", fontsize=8
        )
    return figure_png(figure)


def _thumbnail(image: BgrImage) -> BgrImage:
    factor = min(1.0, _THUMBNAIL / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _label(axes: Axes, y_label: str, title: str) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(y_label)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def figure_png(figure: Figure) -> bytes:
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
