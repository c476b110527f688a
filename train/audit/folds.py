"""Folds for cross-validation in which photos that show the same stay together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

_MOST_FOLDS = 5

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""(rows to learn from, rows to judge) per fold; every row is judged once."""


def fold_indices(values: NDArray[np.str_], groups: NDArray[np.int64]) -> Folds | None:
    """Five stratified folds of values [N], or as many as the rarest value has groups; None if that is fewer than two.

    Photos with one group number [N] are in one fold.
    """
    count = min(_MOST_FOLDS, *(len(set(groups[values == value].tolist())) for value in np.unique(values)))
    if count < 2:
        return None
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    folds = [(np.asarray(learn), np.asarray(judge)) for learn, judge in splitter.split(values, values, groups)]
    complete = all(len(set(values[learn].tolist())) == len(set(values.tolist())) for learn, _ in folds)
    return folds if complete else None
