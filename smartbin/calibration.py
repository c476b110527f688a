"""Figures of merit and calibration from logits, in numpy, so that training, export and benchmarks agree on them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from smartbin.errors import DataError
from smartbin.prediction import RejectThresholds

TEMPERATURE_RANGE = (0.05, 20.0)
"""Where a fitted temperature lies; at a bound the likelihood wants one beyond it."""
_NEAR = 1.001
_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 60


def log_softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Logarithms of the class probabilities of logits [N, C] / temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Class probabilities [N, C] of logits [N, C] / temperature."""
    return np.exp(log_softmax(logits, temperature))


def energy(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """-logsumexp of logits [N, C]: [N]; low for what the network knows (Liu et al., arXiv 2010.03759, T = 1)."""
    values = np.asarray(logits, np.float64)
    top = values.max(axis=1)
    return np.asarray(-(np.log(np.exp(values - top[:, None]).sum(axis=1)) + top), np.float64)


def is_bound(temperature: float) -> bool:
    """Whether a fitted temperature is at an end of `TEMPERATURE_RANGE`, which the search approaches."""
    low, high = TEMPERATURE_RANGE
    return temperature <= low * _NEAR or temperature >= high / _NEAR


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature with the least negative log-likelihood on logits [N, C], labels [N] (Guo et al., 1706.04599).

    Golden-section search over its logarithm, .05 to 20, where the likelihood has one maximum. `DataError` if empty.
    """
    if len(labels) == 0:
        raise DataError("cannot fit a temperature", found="no labelled photos", expected="one or more")
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits, math.exp(log_temperature))[rows, labels].mean())

    low, high = map(math.log, TEMPERATURE_RANGE)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def choose_thresholds(
    confidences: NDArray[np.floating], energies: NDArray[np.floating], keep: float = 0.95
) -> RejectThresholds:
    """Thresholds that together keep at least the part `keep` of the given photos, each rejecting half of the rest."""
    if len(confidences) == 0 or len(confidences) != len(energies):
        raise DataError(
            "cannot choose thresholds",
            found=f"{len(confidences)} confidences, {len(energies)} energies",
            expected="as many of each, one or more",
        )
    rejected = (1 - keep) / 2
    # `lower`/`higher`: a threshold that is one of the values, on the side that keeps more
    confidence = float(np.quantile(confidences, rejected, method="lower"))
    top_energy = float(np.quantile(energies, 1 - rejected, method="higher"))
    # room for the last digits of another runtime, so that the photo on the threshold stays kept
    return RejectThresholds(min_confidence=max(0.0, confidence - 1e-4), max_energy=top_energy + 1e-4)


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = 15
) -> float:
    """Mean distance between confidence and accuracy over equal-width bins of confidence, weighted by photos."""
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidences * bins).astype(int), bins - 1)
    total = 0.0
    for index in range(bins):
        chosen = bin_of == index
        if chosen.any():
            total += chosen.mean() * abs(confidences[chosen].mean() - correct[chosen].mean())
    return float(total)


def adaptive_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = 15
) -> float:
    """As `expected_calibration_error`, but the bins hold equally many photos (Nixon et al., arXiv 1904.01685).

    Equal widths leave most bins nearly empty when most photos are answered with near certainty.
    """
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidences, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    gaps = [len(group) * abs(confidences[group].mean() - correct[group].mean()) for group in groups]
    return float(sum(gaps) / len(labels))


def auroc(inside: NDArray[np.floating], outside: NDArray[np.floating]) -> float:
    """Probability that a score of `outside` is above one of `inside`, ties counting half: area under the ROC curve."""
    if len(inside) == 0 or len(outside) == 0:
        raise DataError("no AUROC", found=f"{len(inside)} and {len(outside)} scores", expected="some of each")
    ordered = np.sort(inside)
    below = np.searchsorted(ordered, outside, side="left")
    tied = np.searchsorted(ordered, outside, side="right") - below
    return float((below + tied / 2).mean() / len(inside))


def confusion_matrix(labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts [C, C]: row the true class, column the predicted one."""
    flat = np.bincount(np.asarray(labels) * classes + np.asarray(predicted), minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def macro_f1(matrix: NDArray[np.integer]) -> float:
    """Mean F1 over the classes that occur among the labels, from a confusion matrix [C, C]."""
    hits, support, claimed = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    present = support > 0
    if not present.any():
        raise DataError("no F1 of nothing", found="no labelled photos", expected="one or more")
    return float((2 * hits[present] / (support + claimed)[present]).mean())


def wilson_interval(correct: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (JASA 22, 1927), 0 to 1; weighted counts need not be whole."""
    if total < 1 or not 0 <= correct <= total:
        raise DataError(
            "no interval of this", found=f"{correct} of {total}", expected="0 <= correct <= total, total > 0"
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
