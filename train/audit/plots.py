"""Figures of an audit: how many photos, how light and colour are spread, what the border gives away, short cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from train.audit.looks import STATISTICS, place_of
from train.audit.records import Count, Shortcut
from train.datasets.photos import PARTS

_SPREADS = ("luma", "contrast", "detail", "saturation", "red cast", "blue cast")
_TITLES = {entry.name: entry.text for entry in STATISTICS}
_MOST_NAMES = 30


def draw_counts(counts: Sequence[Count], classes: Sequence[str]) -> Figure:
    """Photos per class, one bar a class, its parts side by side in it."""
    figure = Figure(figsize=(8.2, 1.2 + 0.42 * len(classes)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(classes))
    for part in PARTS:
        sizes = np.array(
            [sum(entry.photos for entry in counts if entry.label == label and entry.part == part) for label in classes]
        )
        if sizes.any():
            axes.barh(classes, sizes, left=left, label=part)
            left += sizes
    for row, total in enumerate(left):
        axes.annotate(
            f"{total:.0f}", (total, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    axes.margins(x=0.08)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("photos")
    figure.legend(loc="outside upper right", ncols=len(PARTS))
    return figure


def draw_spreads(matrix: NDArray[np.float64], values: NDArray[np.str_], names: Sequence[str]) -> Figure:
    """Six statistics [photos, statistics] per class or source: box from quartile to quartile, line from 5 to 95 %."""
    shown = [name for name in names if (values == name).any()][:_MOST_NAMES]
    figure = Figure(figsize=(11, 1.6 + 2 * (0.6 + 0.26 * len(shown))), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True).ravel()
    for axes, statistic in zip(panels, _SPREADS, strict=True):
        column = matrix[:, place_of(statistic)]
        axes.boxplot(
            [column[values == name] for name in shown],
            orientation="horizontal",
            manage_ticks=False,  # each panel would add its own to the shared ones
            whis=(5, 95),
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": "C0", "alpha": 0.45, "edgecolor": "C0"},
            medianprops={"color": "C1", "linewidth": 2},
            whiskerprops={"color": "C0"},
            capprops={"color": "C0"},
            flierprops={"marker": ".", "markersize": 2.5, "markeredgecolor": "none", "markerfacecolor": "C0"},
        )
        axes.set_title(f"{statistic}: {_wrapped(_TITLES[statistic])}", fontsize=8.5)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(1, len(shown) + 1), shown)
    panels[0].set_ylim(len(shown) + 0.5, 0.5)
    return figure


def draw_borders(matrix: NDArray[np.float64], values: NDArray[np.str_], names: Sequence[str]) -> Figure:
    """Colour of the border of each photo, a panel a class: its photos over all others, in grey."""
    shown = [name for name in names if (values == name).any()][:_MOST_NAMES]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(0.6 + 3.1 * columns, 0.5 + 2.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    red, blue = matrix[:, place_of("border red cast")], matrix[:, place_of("border blue cast")]
    for axes, name in zip(panels.ravel(), shown, strict=False):
        its = values == name
        axes.scatter(red[~its], blue[~its], s=4, color="0.6", alpha=0.35, linewidths=0, rasterized=True)
        axes.scatter(red[its], blue[its], s=7, color="C0", alpha=0.8, linewidths=0, rasterized=True)
        axes.plot([np.median(red[its])], [np.median(blue[its])], "P", color="C1", markersize=9, markeredgecolor="white")
        axes.set_title(f"{name} ({its.sum()})", parse_math=False)
    for axes in panels.ravel()[len(shown) :]:
        axes.axis("off")
    panels[0, 0].set_xlim(*_middle(red))
    panels[0, 0].set_ylim(*_middle(blue))
    figure.supxlabel("red cast of the border: log2 of red / green", fontsize=9)
    figure.supylabel("blue cast: log2 of blue / green", fontsize=9)
    return figure


def draw_shortcuts(shortcuts: Sequence[Shortcut]) -> Figure:
    """Skill of each kind of statistics at telling class or source: 0 is chance, 1 perfect."""
    figure = Figure(figsize=(7.4, 1 + 0.36 * len(shortcuts)), layout="constrained")
    axes = figure.subplots()
    names = [f"{entry.target} from {entry.kind}" for entry in shortcuts]
    skills = [entry.skill for entry in shortcuts]
    axes.barh(names, skills, color=["C1" if entry.alarming else "C0" for entry in shortcuts])
    for row, entry in enumerate(shortcuts):
        note = f"{entry.balanced:.2f} right, chance {entry.chance:.2f}"
        place = (max(0.0, entry.skill), row)
        axes.annotate(note, place, xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.axvline(0, color="C2", linewidth=1)
    axes.set_xlim(min(-0.05, *skills), max(0.6, 1.35 * max(skills)))
    axes.invert_yaxis()
    axes.set_xlabel("skill: 0 chance, 1 perfect (mean recall, cross-validated)")
    axes.grid(axis="y", visible=False)
    return figure


def draw_shapes(widths: NDArray[np.int64], heights: NDArray[np.int64]) -> Figure:
    """Width and height of every photo, on logarithmic axes."""
    figure = Figure(figsize=(5.2, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(widths, heights, s=8, alpha=0.4, linewidths=0, rasterized=True)
    _log_pixels(axes)
    return figure


def _log_pixels(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axes.set_xlabel("width, pixels")
    axes.set_ylabel("height, pixels")


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    """Limits that hold 99 % of the values, with some air."""
    low, high = np.percentile(values, [0.5, 99.5])
    air = 0.08 * (high - low) + 1e-3
    return float(low - air), float(high + air)


def _wrapped(text: str) -> str:
    """At most two lines."""
    words, half = text.split(), len(text) / 2
    for place in range(1, len(words)):
        if len(" ".join(words[:place])) >= half and len(text) > 36:
            return f"{' '.join(words[:place])}\n{' '.join(words[place:])}"
    return text
