"""Pictures of a result: how times spread, and what accuracy they buy. Drawn as the training report's are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report import Measurement, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from train.report.document import Picture

_NEAR_LOG_MS, _NEAR = 0.03, 0.01  # dots nearer to each other than this have one label


def draw_pictures(tables: Sequence[Table]) -> list[Picture]:
    """Named `SCENARIO.latency` and `SCENARIO.accuracy`; none, and a word on stderr, without matplotlib."""
    try:
        from train.report.figure_files import picture
    except ImportError as error:
        print(f"no plots: {error} (pip install 'smartbin[train]')", file=sys.stderr)
        return []
    found: list[Picture] = []
    for table in tables:
        scenario, timed = table.scenario, [item for item in table.measurements if item.samples_ms]
        judged = _one_a_model([item for item in timed if item.accuracy is not None])
        if timed:
            told = f"{scenario}: median, spread and maximum of the times of every row"
            draw = partial(_draw_latency, scenario, timed)
            found.append(picture(f"{scenario}.latency", draw, alt=told, caption=told))
        if len(judged) > 1:
            told = f"{scenario}: accuracy against median time"
            draw = partial(_draw_accuracy, scenario, judged)
            found.append(picture(f"{scenario}.accuracy", draw, alt=told, caption=told))
    return found


def _one_a_model(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Of what differs in its batch alone, the first: their accuracy is one."""
    return list({item.name.split(", batch ")[0]: item for item in reversed(measurements)}.values())[::-1]


def _draw_latency(scenario: str, measurements: Sequence[Measurement]) -> Figure:
    """A line a row: thin from the 5th to the 95th percentile, thick between the quartiles; median and maximum."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 0.28 * len(measurements)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(measurements))
    low, first, middle, third, high = np.stack(
        [np.percentile(item.samples_ms, [5, 25, 50, 75, 95]) for item in measurements]
    ).T
    axes.hlines(places, low, high, color="C0", linewidth=1)
    axes.hlines(places, first, third, color="C0", linewidth=5)
    axes.plot(middle, places, "o", color="C1", label="median")
    axes.plot([max(item.samples_ms) for item in measurements], places, "x", color="C2", label="maximum")
    axes.set_yticks(places, [item.name for item in measurements])
    axes.invert_yaxis()
    _set_time_scale(axes)
    axes.set_xlabel("milliseconds; thin: 5 to 95 %, thick: the middle half")
    axes.set_title(f"{scenario}: how long it takes")
    figure.legend(loc="outside lower center", ncols=2)  # not in the picture: a maximum may lie there
    return figure


def _draw_accuracy(scenario: str, measurements: Sequence[Measurement]) -> Figure:
    """A dot a row, with its number above and its name below; dots that lie on one another share a label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4 + 0.17 * len(measurements)), layout="constrained")
    axes = figure.subplots()
    labels: dict[tuple[float, float], list[str]] = {}
    for number, item in enumerate(measurements, start=1):
        time_ms, accuracy = item.latency.p50_ms, item.accuracy or 0.0
        axes.plot(time_ms, accuracy, "o", color=f"C{number % 5}", markersize=5, label=f"{number}  {item.name}")
        near = ((x, y) for x, y in labels if abs(np.log(time_ms / x)) < _NEAR_LOG_MS and abs(accuracy - y) < _NEAR)
        labels.setdefault(next(near, (time_ms, accuracy)), []).append(str(number))
    for place, numbers in labels.items():
        axes.annotate(", ".join(numbers), place, (0, 6), textcoords="offset points", ha="center", fontsize=8)
    _set_time_scale(axes)
    axes.margins(0.1)
    axes.set_xlabel("median, milliseconds")
    axes.set_ylabel("accuracy on the photos")
    axes.set_title(f"{scenario}: accuracy against time")
    figure.legend(loc="outside lower center")
    return figure


def _set_time_scale(axes: Axes) -> None:
    """Logarithmic, with numbers that are read as they stand (20, not 2 x 10^1)."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
