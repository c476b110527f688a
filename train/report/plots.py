"""Figures of how a run went: losses, accuracies and learning rates over its epochs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from train.metrics import Epoch, RunMetrics
from train.schedule import NEW, NO_DECAY

_MOST_LINES = 4  # of a legend with one column
_LABEL_WIDTH = 44  # letters that fit beneath a panel


def draw_curves(metrics: RunMetrics) -> Figure:
    """Loss, validation accuracy and learning rate over the epochs."""
    history = metrics.history
    figure = Figure(layout="constrained")
    losses, accuracies, rates = figure.subplots(1, 3)
    _line(losses, history, [record.train_loss for record in history], "training, augmented", "o")
    _line(losses, history, [record.val_loss for record in history], "validation", "s")
    plain = [math.nan if record.plain_train_loss is None else record.plain_train_loss for record in history]
    if not all(map(math.isnan, plain)):
        _line(losses, history, plain, "training, not augmented", "^")
    losses.axhline(metrics.train.loss, label="training at the end, not augmented", color="C2", linestyle=":")
    losses.set_ylim(bottom=0)
    _finish(losses, history, "Loss (cross-entropy a photo)")
    _line(accuracies, history, [record.val_accuracy for record in history], "accuracy", "o")
    _line(accuracies, history, [record.val_macro_f1 for record in history], "macro F1", "s")
    raw = [record.raw_val_accuracy for record in history]
    _line(accuracies, history, raw, "accuracy, plain weights", "", alpha=0.45, linestyle="--")
    _finish(accuracies, history, "Validation (moving average of the weights)")
    _draw_rates(rates, history)
    rows = max(map(_legend_rows, figure.axes))
    figure.set_size_inches(12, 3.5 + 0.22 * rows)  # legends stand below the panels, where they cover nothing
    return figure


def _draw_rates(axes: Axes, history: Sequence[Epoch]) -> None:
    """A line a group of parameters; groups that always share their rate share a line. Older runs kept the highest."""
    by_rates: dict[tuple[float, ...], list[str]] = {}
    names = [group.name for group in history[-1].rates]
    if all([group.name for group in record.rates] == names for record in history):
        for place, name in enumerate(names):
            values = tuple(record.rates[place].rate for record in history)
            by_rates.setdefault(values, []).append(name)
    if not by_rates:
        by_rates[tuple(record.rate for record in history)] = ["highest"]
    axes.set_yscale("log")
    labels = {values: _layers(groups) for values, groups in sorted(by_rates.items(), reverse=True)}
    for number, (values, label) in enumerate(labels.items()):
        width = _LABEL_WIDTH if len(labels) <= _MOST_LINES else _LABEL_WIDTH // 2
        _line(axes, history, values, textwrap.fill(label, width), "o", alpha=max(0.3, 1 - 0.12 * number))
    _finish(axes, history, "Learning rate at the end of the epoch")


def _layers(groups: Sequence[str]) -> str:
    """The layers of groups of parameters, each once: what is decayed and what is not are two groups of one layer."""
    layers = [group.removesuffix(NO_DECAY) for group in groups]
    return ", ".join(dict.fromkeys("new layers" if layer == NEW else layer for layer in layers))


def _line(
    axes: Axes,
    history: Sequence[Epoch],
    values: Sequence[float],
    label: str,
    marker: str,
    *,
    alpha: float = 1,
    linestyle: str = "-",
) -> None:
    epochs = [record.epoch for record in history]
    axes.plot(epochs, values, label=label, marker=marker, alpha=alpha, linestyle=linestyle)


def _finish(axes: Axes, history: Sequence[Epoch], title: str) -> None:
    axes.set_xlim(0.5, len(history) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_title(title)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), borderaxespad=0, frameon=False,
                ncols=_legend_columns(axes))  # fmt: skip


def _legend_columns(axes: Axes) -> int:
    return 1 if len(axes.lines) <= _MOST_LINES else 2


def _legend_rows(axes: Axes) -> int:
    """Lines of text in the fuller column."""
    lines = [1 + str(line.get_label()).count("\n") for line in axes.lines]
    first = math.ceil(len(lines) / _legend_columns(axes))
    return max(sum(lines[:first]), sum(lines[first:]))
