"""Can the source of a photo be told from what the network makes of it? Then it may have learned places, not items.

A logistic regression on the features in front of the last layer, cross-validated over the validation photos, beside one
that knows the true class alone: a source that lacks a class is told by that, too. Called by studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.finished_run import FinishedRun

_ROUNDS = 2000  # of the solver


@dataclass(frozen=True, slots=True)
class SourceProbe:
    """Balanced accuracies of telling the source; `chance` is one in so many sources."""

    photos: int
    from_features: float
    from_class: float
    chance: float


def mean_probe(probes: Sequence[SourceProbe]) -> SourceProbe:
    """Of one probe a fold, at least one: all photos, mean accuracies."""
    photos = sum(probe.photos for probe in probes)
    features, classes, chance = np.mean([(item.from_features, item.from_class, item.chance) for item in probes], axis=0)
    return SourceProbe(photos, float(features), float(classes), float(chance))


def source_probe(finished: FinishedRun) -> SourceProbe | None:
    """None for a run on one source, with too few photos of one, or whose network has no features."""
    run = finished.run
    sources = np.array(run.split.source_names("val"))
    names = np.unique(sources)
    if len(names) < 2:
        return None
    from sklearn.linear_model import LogisticRegression  # half a second, which few studies need
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from train.audit.folds import fold_indices

    photos, folds = run.photos("val"), fold_indices(sources, np.arange(len(sources)))
    if folds is None:
        return None
    features = finished.features(photos, f"{run.path.name}: features")
    if features is None:
        return None
    labels = np.array([[photo.label == label for label in run.classes] for photo in photos], np.float64)

    def told(columns: NDArray[np.floating]) -> float:
        guesser = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=_ROUNDS))
        return float(balanced_accuracy_score(sources, cross_val_predict(guesser, columns, sources, cv=folds)))

    return SourceProbe(len(photos), told(features), told(labels), 1 / len(names))
