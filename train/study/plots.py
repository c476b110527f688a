"""The picture of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
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
_MARKERS = "os^DvPX*<>"
_ACROSS = 2  # panels: more, and a page that shrinks the picture to its width shrinks the letters, too
_WIDTH = 9.8  # inches, which a page shows at their size
_ROW, _AROUND = 0.42, 1.1  # height in inches of a row, and of a panel's title and axis


def draw_bars(runs: Sequence[StudyRun], conditions: Sequence[str]) -> Figure:
    """Accuracy with its 95 % interval: a panel per condition, in it a row per run that was measured so."""
    rows = [[item for item in runs if condition in item.scores] for condition in conditions]
    across = min(_ACROSS, len(conditions))
    lines = [rows[start : start + across] for start in range(0, len(rows), across)]
    heights = [_AROUND + _ROW * max(map(len, line)) for line in lines]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(lines), across, squeeze=False, height_ratios=heights).ravel()
    for axes in panels[len(conditions) :]:
        axes.set_visible(False)
    for place, (axes, condition, measured) in enumerate(zip(panels, conditions, rows, strict=False)):
        _bars(axes, measured, condition)
        axes.set_title(condition_title(condition, measured, runs), fontsize=10)
        beside = rows[place - 1] if place % across else []
        if measured == beside:  # named there
            axes.tick_params(labelleft=False)
    return figure


def _bars(axes: Axes, measured: Sequence[StudyRun], condition: str) -> None:
    scores = [item.score(condition) for item in measured]
    centres, places = [score.accuracy for score in scores], range(len(measured))
    spreads = [
        [score.accuracy - score.interval_low for score in scores],
        [score.interval_high - score.accuracy for score in scores],
    ]
    axes.errorbar(centres, places, xerr=spreads, fmt="o", capsize=3)
    for place, centre in zip(places, centres, strict=True):
        axes.annotate(
            f"{centre:.3f}", (centre, place), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=9
        )
    axes.set_yticks(places, [item.name for item in measured], parse_math=False)
    axes.set_ylim(len(measured) - 0.4, -0.7)
    axes.set_xlabel("accuracy, 95 % interval")
    axes.grid(alpha=0.3, axis="x")


def condition_title(condition: str, measured: Sequence[StudyRun], runs: Sequence[StudyRun]) -> str:
    """The condition, and whose photos these are where the runs of the study are on several data sets."""
    if any(condition in item.elsewhere for item in measured) or len({item.runs[0].data for item in runs}) < 2:
        return condition
    part, comma, source = condition.partition(", ")
    if comma:
        return f"{part} photos of {source.removesuffix(' alone')}"
    sets = list(dict.fromkeys(item.runs[0].data for item in measured))
    return f"{part} photos of {' and '.join(sets)}" if len(sets) <= 2 else f"each run's own {part} photos"


def is_over_light(conditions: Sequence[str]) -> bool:
    """Whether these are conditions that `draw_light` can draw."""
    return exposure_name(1.0) in conditions


def draw_light(runs: Sequence[StudyRun]) -> Figure:
    """Accuracy over exposure: as trained, and where measured with the correction on or off on the device alone."""
    kinds = [kind for kind in _KINDS if f"{exposure_name(1.0)}{kind}" in runs[0].scores]
    across = len(kinds)
    columns = min(len(runs), 2 if across > 1 else 1)  # of the legend: a name may be half as long as the picture is wide
    height = 4.2 + 0.2 * math.ceil(len(runs) / columns)
    figure = Figure(figsize=(6.4 if across == 1 else _WIDTH, height), layout="constrained")
    panels = figure.subplots(1, across, squeeze=False, sharey=True)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        for number, item in enumerate(runs):
            _light_line(axes, item, kind, number)
        axes.set_title(_KINDS[kind], fontsize=10)
        axes.set_xlabel("light")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("validation accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, title="trained with")
    return figure


def _light_line(axes: Axes, item: StudyRun, suffix: str, number: int) -> None:
    """Each of the runs has a colour, a marker and a line: no two share all, nor the first six their colour."""
    names = [exposure_name(exposure) for exposure in EXPOSURES]
    values = [item.score(f"{name}{suffix}").accuracy for name in names]
    colours, style = mpl.rcParams["axes.prop_cycle"].by_key()["color"], _LINES[number // 2 % len(_LINES)]
    marker = _MARKERS[number % len(_MARKERS)]
    axes.plot(
        names, values, style, marker=marker, color=colours[number % len(colours)], label=item.name, markersize=4.5
    )
