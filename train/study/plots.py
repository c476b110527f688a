"""The picture of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.study.measure import StudyRun
from train.study.plans import EXPOSURES, exposure_name

_KINDS: Mapping[str, str] = {
    "": "as trained",
    ", correction on": "correction on, on the device",
    ", correction off": "correction off, on the device",
}
_LINES = ("-", "--", ":", "-.")
_ACROSS = 4  # panels


def draw_bars(runs: Sequence[StudyRun], conditions: Sequence[str]) -> Figure:
    """Accuracy with its 95 % interval: a row per run, a panel per condition, four panels side by side."""
    across = min(_ACROSS, len(conditions))
    down = -(-len(conditions) // across)
    figure = Figure(figsize=(3.2 + 3.8 * across, down * (1.2 + 0.42 * len(runs))), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes in panels[len(conditions) :]:
        axes.set_visible(False)
    for axes, condition in zip(panels, conditions, strict=False):
        rows = [row for row, item in enumerate(runs) if condition in item.scores]
        scores = [runs[row].score(condition) for row in rows]
        centres = [score.accuracy for score in scores]
        spreads = [
            [score.accuracy - score.interval_low for score in scores],
            [score.interval_high - score.accuracy for score in scores],
        ]
        axes.errorbar(centres, rows, xerr=spreads, fmt="o", capsize=3)
        for row, centre in zip(rows, centres, strict=True):
            axes.annotate(
                f"{centre:.3f}", (centre, row), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=8
            )
        axes.set_title(condition, fontsize=10)
        axes.set_xlabel("accuracy, 95 % interval")
        axes.grid(alpha=0.3, axis="x")
    panels[0].set_yticks(range(len(runs)), [item.name for item in runs])
    panels[0].set_ylim(len(runs) - 0.4, -0.7)
    return figure


def is_over_light(conditions: Sequence[str]) -> bool:
    """Whether these are conditions that `draw_light` can draw."""
    return exposure_name(1.0) in conditions


def draw_light(runs: Sequence[StudyRun]) -> Figure:
    """Accuracy over exposure: as trained, and where measured with the correction on or off on the device alone."""
    kinds = [kind for kind in _KINDS if f"{exposure_name(1.0)}{kind}" in runs[0].scores]
    columns = min(len(runs), len(kinds))  # of the legend: a name may be as long as a panel is wide
    height = 4.6 + 0.2 * math.ceil(len(runs) / columns)
    figure = Figure(figsize=(1.5 + 4.6 * len(kinds), height), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        for number, item in enumerate(runs):
            _light_line(axes, item, kind, _LINES[number // 2 % len(_LINES)])
        axes.set_title(_KINDS[kind], fontsize=10)
        axes.set_xlabel("light")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("validation accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, title="trained with")
    return figure


def _light_line(axes: Axes, item: StudyRun, suffix: str, style: str) -> None:
    names = [exposure_name(exposure) for exposure in EXPOSURES]
    values = [item.score(f"{name}{suffix}").accuracy for name in names]
    axes.plot(names, values, style, marker=".", label=item.name)
