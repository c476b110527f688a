"""The plots of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from train.report.run_row import RunRow

_LINES = ("-", "--", "-.")  # one after the other, as colours run out


def draw_accuracies(rows: Sequence[RunRow]) -> Figure:
    """Accuracy with its interval and macro F1, a line a run, the first on top."""
    figure = Figure(figsize=(8.2, 1.5 + 0.42 * len(rows)))
    longest = max(len(row.run) for row in rows)
    figure.subplots_adjust(left=min(0.5, 0.04 + 0.0085 * longest), right=0.98, bottom=0.55 / figure.get_figheight(),
                           top=1 - 0.35 / figure.get_figheight())  # fmt: skip
    axes = figure.subplots()
    places = range(len(rows))
    accuracies = [row.accuracy for row in rows]
    spread = [
        [row.accuracy - row.interval_low for row in rows],
        [row.interval_high - row.accuracy for row in rows],
    ]
    axes.errorbar(accuracies, places, xerr=spread, fmt="o", color="C0", capsize=3, label="accuracy, 95 % interval")
    axes.plot([row.macro_f1 for row in rows], places, "|", color="C1", markersize=12, label="macro F1")
    axes.set_yticks(places, [row.run for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("accuracy on validation photos")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, frameon=False)
    return figure


def draw_courses(rows: Sequence[RunRow], reach: float) -> Figure:
    """Validation accuracy against seconds of training, a line a run, and the accuracy that is asked for."""
    figure = Figure(figsize=(8.2, 4.4 + 0.2 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colours = len(mpl.rcParams["axes.prop_cycle"])
    for number, row in enumerate(rows):
        seconds, reached = zip(*row.course, strict=True)
        style = _LINES[number // colours % len(_LINES)]
        axes.plot(seconds, reached, style, marker="o", markersize=3.5, label=row.run)
    axes.axhline(reach, color="gray", linestyle=":", label=f"{reach:g}")
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("validation accuracy")
    for text in figure.legend(loc="outside lower left", frameon=False).get_texts():
        text.set_parse_math(False)
    return figure
