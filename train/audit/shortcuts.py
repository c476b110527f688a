"""Can the class, or the source, be told from numbers that do not say what a photo shows? Then a network can cheat.

A support vector machine guesses it from light, sharpness, colour, the border or the file alone, cross-validated with
copies kept together. Colour is partly honest (cardboard is brown); what the border or the file gives away is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from train.audit.folds import fold_indices
from train.audit.looks import STATISTICS
from train.audit.records import Shortcut

_PENALTY = 10.0  # as good as a random forest of 200 trees on the garbage photos, in a twentieth of its time
_MOST_PHOTOS = 4000  # its time grows with the square; more photos change the figures by less than their own noise
_ALARMING_SKILL = 0.3
_HONEST = ("colour", "all")  # may tell what the photo shows

Target: TypeAlias = Literal["class", "source"]


def find_shortcuts(
    matrix: NDArray[np.float64], targets: Sequence[tuple[Target, NDArray[np.str_]]], groups: NDArray[np.int64]
) -> list[Shortcut]:
    """For each target and each kind of statistics [photos, statistics]: how well one tells the other.

    Of more than 4,000 photos a random sample is taken. A target with fewer than two values, or with a value in fewer
    than two groups of photos, is left out.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(matrix))[:_MOST_PHOTOS])
    matrix, groups = matrix[chosen], groups[chosen]
    found = []
    for target, values in targets:
        values = values[chosen]
        folds = fold_indices(values, groups)
        if folds is None or len(set(values.tolist())) < 2:
            continue
        for kind, columns in _kinds(matrix):
            machine = make_pipeline(StandardScaler(), SVC(C=_PENALTY, class_weight="balanced"))
            guesses = np.asarray(cross_val_predict(machine, columns, values, cv=folds))
            found.append(_shortcut(target, kind, values, guesses))
    return found


def _shortcut(target: Target, kind: str, values: NDArray[np.str_], guesses: NDArray[np.str_]) -> Shortcut:
    names, counts = np.unique(values, return_counts=True)
    recalls = recall_score(values, guesses, labels=names, average=None, zero_division=0.0)
    chance = 1 / len(names)
    balanced = float(np.mean(recalls))
    skill = (balanced - chance) / (1 - chance)
    return Shortcut(
        target=target,
        kind=kind,
        photos=len(values),
        accuracy=float((values == guesses).mean()),
        most_frequent=float(counts.max() / counts.sum()),
        balanced=balanced,
        chance=chance,
        skill=skill,
        recalls={str(name): float(recall) for name, recall in zip(names, recalls, strict=True)},
        alarming=skill > _ALARMING_SKILL and (target == "source" or kind not in _HONEST),
    )


def _kinds(matrix: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The columns of each kind of statistics, then all; angles as points on a circle."""
    kinds = list(dict.fromkeys(statistic.kind for statistic in STATISTICS))
    for kind in kinds:
        yield kind, _columns(matrix, [place for place, entry in enumerate(STATISTICS) if entry.kind == kind])
    yield "all", _columns(matrix, range(len(STATISTICS)))


def _columns(matrix: NDArray[np.float64], places: Sequence[int]) -> NDArray[np.float64]:
    columns = []
    for place in places:
        values = matrix[:, place]
        if STATISTICS[place].circular:
            angle = np.deg2rad(values)
            columns += [np.sin(angle), np.cos(angle)]
        else:
            columns.append(values)
    return np.stack(columns, axis=1)
