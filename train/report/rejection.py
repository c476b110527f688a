"""What happens when the doubtful answers are held back: coverage, thresholds, and how many outsiders they catch.

Thresholds are chosen on validation photos alone (`smartbin.calibration.choose_thresholds`, and variants of it for one
score); pictures of other things only measure them. Every score here is "higher: more doubtful".
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from smartbin.calibration import auroc, choose_thresholds, energy, softmax, wilson_interval
from smartbin.prediction import RejectThresholds
from train.metrics import Outputs
from train.networks.feature_distance import USUAL_SHARE, distance_weight
from train.report.outputs import OutsiderOutputs, RunOutputs, Scored
from train.report.outsiders import OUTSIDER_KINDS
from train.report.reliability import FOLDS, folds_of

KEEP = 0.95
_DRAWS = 1000
_OTHER_SHARES = (0.0, 0.5, 1.0)  # beside the usual one: what more of the distance would hold back

_Pair: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]  # a score of validation photos and of outsiders


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Coverage(_Record):
    """Accuracy against coverage: the most confident photos first."""

    accepted: list[float]
    """Part of the photos that is answered, rising to 1."""
    accuracy: list[float]
    """Of those that are answered."""
    area: float
    """Area under the risk-coverage curve: mean error over all coverages (Geifman et al., arXiv 1805.08206)."""
    best_area: float
    """The same if all mistakes came last: what these mistakes cost even a perfect ranking."""


class Acceptance(_Record):
    """What the chosen thresholds do with the validation photos."""

    thresholds: RejectThresholds
    kept: float
    kept_crossfitted: float
    """Thresholds chosen on four fifths, counted on the fifth."""
    accuracy: float
    """Of the photos that are kept."""
    interval_low: float
    interval_high: float
    mistakes: int
    mistakes_caught: int


class KindCatch(_Record):
    """Pictures of a kind of outsiders and how many are held back."""

    kind: str
    pictures: int
    caught: int


class ScoreCatch(_Record):
    """A way of rejecting, at the threshold that keeps 95 % of validation."""

    score: str
    auroc: float | None
    """Outsiders against validation photos; None for two thresholds at once."""
    caught: float
    interval_low: float
    interval_high: float
    """95 %, by drawing whole originals anew: views of one picture are no independent trials."""
    kinds: list[KindCatch]
    mistakes_caught: int


class Doubt(NamedTuple):
    """Doubt scores [N] of a set of pictures."""

    unsure: NDArray[np.float64]
    """1 - confidence."""
    logits_energy: NDArray[np.float64]
    distance: NDArray[np.float64] | None

    def energy(self, weight: float) -> NDArray[np.float64]:
        """As bundles compute it: of the logits, and `weight` times the distance where the run measured it."""
        return self.logits_energy if self.distance is None else self.logits_energy + weight * self.distance


def weight_in_energy(val: Scored, share: float = USUAL_SHARE) -> float:
    """Of the distance in a bundle's energy, from the validation photos; 0 for a run without distances."""
    if val.distances is None:
        return 0.0
    return distance_weight(energy(val.outputs.logits), val.distances, share)


def doubt_of(logits: NDArray[np.float32], temperature: float, distances: NDArray[np.float32] | None) -> Doubt:
    """The doubt scores of logits [N, C] and distances [N], with the confidence at `temperature`."""
    return Doubt(
        unsure=1 - softmax(logits, temperature).max(axis=1),
        logits_energy=energy(logits),
        distance=None if distances is None else distances.astype(np.float64),
    )


def measure_coverage(outputs: Outputs, temperature: float) -> Coverage:
    """The accuracy-coverage curve of one or more photos; equal confidences share their mean accuracy."""
    probabilities = softmax(outputs.logits, temperature)
    confidences, wrong = probabilities.max(axis=1), outputs.predicted != outputs.labels
    values, group, counts = np.unique(-confidences, return_inverse=True, return_counts=True)
    del values
    mean_wrong = np.bincount(group, weights=wrong) / counts
    number = np.arange(1, len(wrong) + 1)
    risks = np.cumsum(np.repeat(mean_wrong, counts)) / number
    best = np.cumsum(np.sort(wrong)) / number
    return Coverage(
        accepted=(number / len(wrong)).tolist(),
        accuracy=(1 - risks).tolist(),
        area=float(risks.mean()),
        best_area=float(best.mean()),
    )


def measure_acceptance(val: Scored, temperature: float) -> Acceptance:
    """Choose the thresholds of a bundle on the validation photos, and say what they keep."""
    outputs = val.outputs
    doubt = doubt_of(outputs.logits, temperature, val.distances)
    energies, wrong = doubt.energy(weight_in_energy(val)), outputs.predicted != outputs.labels
    thresholds = choose_thresholds(1 - doubt.unsure, energies, KEEP)
    kept = accepts(thresholds, doubt.unsure, energies)
    right = int((kept & ~wrong).sum())
    low, high = wilson_interval(right, int(kept.sum()))
    return Acceptance(
        thresholds=thresholds,
        kept=float(kept.mean()),
        kept_crossfitted=_kept_crossfitted(doubt.unsure, energies, outputs.labels),
        accuracy=right / int(kept.sum()),
        interval_low=low,
        interval_high=high,
        mistakes=int(wrong.sum()),
        mistakes_caught=int((wrong & ~kept).sum()),
    )


def accepts(
    thresholds: RejectThresholds, unsure: NDArray[np.float64], energies: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which pictures [N] a bin with these thresholds answers; as `smartbin.prediction.decide`."""
    sure = (1 - unsure >= thresholds.min_confidence) & (energies <= thresholds.max_energy)
    return np.asarray(sure, np.bool_)


def _kept_crossfitted(unsure: NDArray[np.float64], energies: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    fold = folds_of(labels, min(FOLDS, len(labels)))
    kept = np.empty(len(labels), np.bool_)
    for number in np.unique(fold):
        inside = fold == number
        thresholds = choose_thresholds(1 - unsure[~inside], energies[~inside], KEEP)
        kept[inside] = accepts(thresholds, unsure[inside], energies[inside])
    return float(kept.mean())


def measure_catches(outputs: RunOutputs, temperature: float) -> list[ScoreCatch]:
    """Every way of rejecting on the outsiders; the first is what a bundle does. Empty without outsiders."""
    val, others = outputs.val, outputs.outsiders
    if others is None:
        return []
    wrong = val.outputs.predicted != val.outputs.labels
    inside = doubt_of(val.outputs.logits, temperature, val.distances)
    outside = doubt_of(others.logits, temperature, others.distances)
    unsure = (inside.unsure, outside.unsure)

    def energies(share: float) -> _Pair:
        weight = weight_in_energy(val, share)
        return inside.energy(weight), outside.energy(weight)

    ways: dict[str, list[_Pair]] = {
        "confidence and energy (what a bundle does)": [unsure, energies(USUAL_SHARE)],
        "confidence alone": [unsure],
        "energy alone": [energies(USUAL_SHARE)],
    }
    if inside.distance is not None and outside.distance is not None:
        ways |= {f"with --unfamiliar {share:g}": [unsure, energies(share)] for share in _OTHER_SHARES}
        ways["feature distance alone"] = [(inside.distance, outside.distance)]
    return [_catch(name, scores, wrong, others) for name, scores in ways.items()]


def _catch(name: str, scores: list[_Pair], wrong: NDArray[np.bool_], others: OutsiderOutputs) -> ScoreCatch:
    inside, outside = zip(*scores, strict=True)
    tops = [threshold_that_keeps(score, 1 - (1 - KEEP) / len(inside)) for score in inside]
    caught = np.any([score > top for score, top in zip(outside, tops, strict=True)], axis=0)
    caught_inside = np.any([score > top for score, top in zip(inside, tops, strict=True)], axis=0)
    low, high = grouped_interval(caught, others.originals)
    kinds = np.asarray(others.kinds)
    return ScoreCatch(
        score=name,
        auroc=auroc(inside[0], outside[0]) if len(inside) == 1 else None,
        caught=float(caught.mean()),
        interval_low=low,
        interval_high=high,
        kinds=[
            KindCatch(kind=kind, pictures=int((kinds == kind).sum()), caught=int(caught[kinds == kind].sum()))
            for kind in OUTSIDER_KINDS
        ],
        mistakes_caught=int((caught_inside & wrong).sum()),
    )


def threshold_that_keeps(scores: NDArray[np.float64], keep: float) -> float:
    """The least of the scores [N] that at least the part `keep` of them does not exceed."""
    return float(np.quantile(scores, keep, method="higher"))


def grouped_interval(hits: NDArray[np.bool_], groups: tuple[str, ...], draws: int = _DRAWS) -> tuple[float, float]:
    """95 % interval of the share of hits [N] when whole groups [N] are drawn anew (cluster bootstrap)."""
    names, group = np.unique(groups, return_inverse=True)
    total, right = np.bincount(group), np.bincount(group, weights=hits)
    drawn = np.random.default_rng(0).integers(len(names), size=(draws, len(names)))
    shares = right[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)
