"""Likely label errors by confident learning (Northcutt et al., JAIR 70, 2021; library cleanlab).

A logistic regression on the features of a frozen network says for every photo how likely each class is, having
learned from other photos only. cleanlab says which labels the probabilities contradict more than errors of the
regression would. Photos that show the same stay in one fold: a copy with the same wrong label would vouch for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from train.audit.folds import Folds, fold_indices
from train.audit.measure import PhotoFacts
from train.audit.records import LabelCheck, Suspect
from train.console import progress

_PENALTIES = (1e-3, 1e-2, 3e-2, 1e-1)
"""Inverse strengths of the L2 penalty that are tried on standardised features."""
_ITERATIONS = 500


@dataclass(frozen=True, slots=True)
class _Guesses:
    """Out-of-sample probabilities [N, C] and what they are worth."""

    probabilities: NDArray[np.float64]
    loss: float
    penalty: float


def check_labels(
    facts: Sequence[PhotoFacts],
    features: NDArray[np.float32],
    classes: Sequence[str],
    groups: NDArray[np.int64],
    origin: str,
) -> LabelCheck | str:
    """Suspicious labels, the worst first; a sentence instead if there are too few photos to check by."""
    labels = np.array([fact.label for fact in facts])
    present = [name for name in classes if name in set(labels.tolist())]
    if len(present) < 2:
        return "there is only one class"
    folds = fold_indices(labels, groups)
    if folds is None:
        return "a class has too few photos that differ for two folds"
    given = np.array([present.index(label) for label in labels])
    guesses = _best_guesses(features.astype(np.float64), given, folds)
    wrong = find_label_issues(given, guesses.probabilities, n_jobs=1)
    own = get_label_quality_scores(given, guesses.probabilities, method="self_confidence")
    suspects = []
    for place in np.argsort(own, kind="stable"):
        row = guesses.probabilities[place]
        best = int(row.argmax())
        if wrong[place] and best != given[place]:
            suspects.append(
                Suspect(
                    name=facts[place].name,
                    part=facts[place].part,
                    label=facts[place].label,
                    suggested=present[best],
                    confidence=float(row[best]),
                    own=float(own[place]),
                )
            )
    return LabelCheck(
        features=origin,
        folds=len(folds),
        photos=len(facts),
        accuracy=float((guesses.probabilities.argmax(axis=1) == given).mean()),
        log_loss=guesses.loss,
        penalty=guesses.penalty,
        suspects=tuple(suspects),
    )


def _best_guesses(features: NDArray[np.float64], given: NDArray[np.int64], folds: Folds) -> _Guesses:
    """The probabilities under the penalty with the lowest out-of-sample loss."""
    tried = []
    with progress("checking labels", len(_PENALTIES)) as advance:
        for penalty in _PENALTIES:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=_ITERATIONS))
            rows = cross_val_predict(model, features, given, cv=folds, method="predict_proba")
            probabilities = np.asarray(rows, np.float64)
            tried.append(_Guesses(probabilities, float(log_loss(given, probabilities)), penalty))
            advance(1, f"loss {tried[-1].loss:.3f}")
    return min(tried, key=lambda guesses: guesses.loss)
