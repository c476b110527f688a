"""Figures of how far a network may be believed: reliability, accuracy against coverage, energies of outsiders."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.report.outputs import OutsiderOutputs
from train.report.outsiders import OUTSIDER_KINDS
from train.report.rejection import Acceptance, Coverage
from train.report.reliability import Reliability, ReliabilityBin

_HISTOGRAM_BINS = 36


def draw_reliability(found: Reliability) -> Figure:
    """Accuracy against confidence, before the temperature and after it (cross-fitted)."""
    figure = Figure(figsize=(8.2, 4))
    figure.subplots_adjust(left=0.08, right=0.99, bottom=0.12, top=0.92, wspace=0.08)
    before, after = figure.subplots(1, 2, sharex=True, sharey=True)
    _diagram(before, found.bins_before, f"before: calibration error {found.before:.3f}")
    title = f"after, cross-fitted: {found.crossfitted:.3f}"
    _diagram(after, found.bins_after, title)
    before.set_ylabel("part that is right")
    return figure


def _diagram(axes: Axes, bins: Sequence[ReliabilityBin], title: str) -> None:
    confidences = np.array([entry.confidence for entry in bins])
    accuracies = np.array([entry.accuracy for entry in bins])
    lows = accuracies - [entry.interval_low for entry in bins]
    highs = [entry.interval_high for entry in bins] - accuracies
    axes.plot([0, 1], [0, 1], linestyle=":", color="C2", label="as it should be")
    errors = np.maximum(0, [lows, highs])
    axes.errorbar(confidences, accuracies, errors, marker="o", color="C0", capsize=2, label="photos, 95 % interval")
    lowest = min(0.95, float(confidences.min()), min((entry.interval_low for entry in bins), default=1))
    axes.set_xlim(max(0, np.floor(lowest * 10) / 10), 1.01)
    axes.set_ylim(max(0, np.floor(lowest * 10) / 10), 1.01)
    axes.set_xlabel("confidence")
    axes.set_title(title)
    axes.legend(loc="upper left")


def draw_coverage(coverage: Coverage, acceptance: Acceptance) -> Figure:
    """Accuracy of what is answered against how much is answered, and where the chosen thresholds lie."""
    figure = Figure(figsize=(6.4, 4.5))
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.27, top=0.97)
    axes = figure.subplots()
    axes.plot(coverage.accepted, coverage.accuracy, color="C0", label="by confidence")
    axes.axvline(0.95, linestyle=":", color="C2", label="95 % answered")
    label = f"chosen thresholds: {acceptance.kept:.1%} answered, {acceptance.accuracy:.1%} of them right"
    axes.plot([acceptance.kept], [acceptance.accuracy], "D", color="C1", label=label)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(min(*coverage.accuracy, acceptance.accuracy) - 0.02, 1.005)
    axes.set_xlabel("part of the validation photos that is answered")
    axes.set_ylabel("part of the answers that is right")
    figure.legend(loc="lower left", frameon=False)  # below the panel, where it covers nothing
    return figure


def draw_scores(
    name: str,
    inside: NDArray[np.float64],
    right: NDArray[np.bool_],
    outside: NDArray[np.float64],
    others: OutsiderOutputs,
    threshold: float,
) -> Figure:
    """Histograms of a doubt score: validation photos by right and wrong, outsiders by kind; held back to the right."""
    figure = Figure(figsize=(8.2, 4.9))
    figure.subplots_adjust(left=0.08, right=0.99, bottom=0.21, top=0.97, hspace=0.1)
    upper, lower = figure.subplots(2, 1, sharex=True)
    everything = np.concatenate([inside, outside])
    edges = np.linspace(everything.min(), everything.max() + 1e-9, _HISTOGRAM_BINS + 1)
    upper.hist([inside[right], inside[~right]], edges, stacked=True, label=["validation, right", "validation, wrong"])
    kinds = np.asarray(others.kinds)
    by_kind = [outside[kinds == kind] for kind in OUTSIDER_KINDS]
    labels = [f"outside: {kind}" for kind in OUTSIDER_KINDS]
    lower.hist(by_kind, edges, stacked=True, color=["C2", "C3", "C4"], label=labels)
    for axes in (upper, lower):
        line = axes.axvline(threshold, linestyle="--", color=mpl.rcParams["text.color"])
        axes.set_ylabel("pictures")
    line.set_label("threshold")
    figure.legend(loc="lower left", frameon=False, ncols=3)  # below the panels, where it covers no bar
    lower.set_xlabel(f"{name} (held back to the right of the line)")
    return figure
