"""Whether confidence can be believed: calibration error before and after a temperature, and the bins of the diagram.

The temperature is fitted on the validation photos, so the error on those same photos flatters. The honest figure is
cross-fitted: fitted on four fifths of the photos, measured on the fifth, all five measured together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from smartbin.calibration import (
    adaptive_calibration_error,
    expected_calibration_error,
    fit_temperature,
    softmax,
    wilson_interval,
)
from train.metrics import Outputs

BINS = 15
FOLDS = 5
_DIAGRAM_BINS = 10
_DRAWS = 400


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReliabilityBin(_Record):
    """Photos whose confidence lies in one bin: mean confidence, and accuracy with its 95 % interval."""

    photos: int
    confidence: float
    accuracy: float
    interval_low: float
    interval_high: float


class Reliability(_Record):
    """Calibration figures of the validation photos."""

    temperature: float
    """Fitted on all of them: what a bundle gets."""
    fold_temperatures: list[float]
    before: float
    """Expected calibration error at temperature 1, 15 bins of equal width."""
    fitted: float
    """At `temperature`, on the photos that it was fitted on."""
    crossfitted: float
    """Each photo at the temperature of the other folds."""
    adaptive_before: float
    adaptive_crossfitted: float
    """The same with bins of equally many photos."""
    chance: float
    chance_high: float
    """Mean and 95 % quantile of what perfectly calibrated answers of these confidences get by chance alone."""
    bins_before: list[ReliabilityBin]
    bins_after: list[ReliabilityBin]
    """Ten bins of equally many photos; `after` is cross-fitted."""


def measure_reliability(outputs: Outputs) -> Reliability:
    """All calibration figures of two or more photos."""
    labels = outputs.labels
    temperature = fit_temperature(outputs.logits, labels)
    crossfitted, fold_temperatures = crossfit(outputs)
    before, fitted = outputs.probabilities, softmax(outputs.logits, temperature)
    chance, chance_high = error_by_chance(crossfitted.max(axis=1))
    return Reliability(
        temperature=temperature,
        fold_temperatures=fold_temperatures,
        before=expected_calibration_error(before, labels, BINS),
        fitted=expected_calibration_error(fitted, labels, BINS),
        crossfitted=expected_calibration_error(crossfitted, labels, BINS),
        adaptive_before=adaptive_calibration_error(before, labels, BINS),
        adaptive_crossfitted=adaptive_calibration_error(crossfitted, labels, BINS),
        chance=chance,
        chance_high=chance_high,
        bins_before=reliability_bins(before, labels),
        bins_after=reliability_bins(crossfitted, labels),
    )


def folds_of(labels: NDArray[np.int64], folds: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """A fold for each photo [N], shuffled; every class is spread evenly, so no fold lacks what others have."""
    rng = np.random.default_rng(seed)
    found = np.empty(len(labels), np.int64)
    start = 0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        found[members] = (start + np.arange(len(members))) % folds
        start += len(members)  # so that small classes do not all begin with fold 0
    return found


def crossfit(outputs: Outputs) -> tuple[NDArray[np.float64], list[float]]:
    """Probabilities [N, C] of each photo at the temperature of the other folds, and the folds' temperatures."""
    fold = folds_of(outputs.labels, min(FOLDS, len(outputs.labels)))
    probabilities = np.empty(outputs.logits.shape, np.float64)
    temperatures = []
    for number in np.unique(fold):
        kept = fold == number
        temperatures.append(fit_temperature(outputs.logits[~kept], outputs.labels[~kept]))
        probabilities[kept] = softmax(outputs.logits[kept], temperatures[-1])
    return probabilities, temperatures


def error_by_chance(confidences: NDArray[np.float64], draws: int = _DRAWS) -> tuple[float, float]:
    """Mean and 95 % quantile of the calibration error when each photo is right with exactly its confidence.

    With few photos a perfect network does not get 0 (consistency resampling, Bröcker & Smith, 2007).
    """
    rng = np.random.default_rng(0)
    # two columns suffice: the error looks at the largest probability and at whether it is the right one
    probabilities = np.stack([confidences, np.full(len(confidences), -1.0)], axis=1)
    right = rng.random((draws, len(confidences))) < confidences
    errors = [expected_calibration_error(probabilities, np.where(row, 0, 1), BINS) for row in right]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def reliability_bins(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = _DIAGRAM_BINS
) -> list[ReliabilityBin]:
    """Bins of equally many photos by confidence, low to high."""
    confidences, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidences, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return [_bin(confidences[group], right[group]) for group in groups]


def _bin(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> ReliabilityBin:
    low, high = wilson_interval(int(right.sum()), len(right))
    return ReliabilityBin(
        photos=len(right),
        confidence=float(confidences.mean()),
        accuracy=float(right.mean()),
        interval_low=low,
        interval_high=high,
    )
