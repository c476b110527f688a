"""Figures of the exported file itself, on real photos, through the classifier that the daemon uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from export.parity import Answers
from export.photo_batches import PhotoSet, photo_set_title
from smartbin.bundle import Metric
from smartbin.calibration import confusion_matrix, expected_calibration_error, macro_f1, wilson_interval
from smartbin.classifier import Classifier
from smartbin.prediction import RejectThresholds
from smartbin.preprocess import PreprocessSpec


@dataclass(frozen=True, slots=True)
class Measured:
    """What a classifier said of a set of photos: probabilities [N, C] with labels, and energies [N]."""

    name: str
    light: float
    answers: Answers
    energies: NDArray[np.float32]

    @property
    def title(self) -> str:
        """Name of the set, and its light where that was changed."""
        return photo_set_title(self.name, self.light)

    @property
    def confidences(self) -> NDArray[np.float32]:
        """Probability of the best class, [N]."""
        return np.asarray(self.answers.values.max(axis=1), np.float32)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, 15 bins."""
        return expected_calibration_error(self.answers.values, self.answers.labels)

    def recalls(self) -> NDArray[np.float64]:
        """Part of each class's photos that was recognised, [C]; not a number for a class without photos."""
        matrix = confusion_matrix(self.answers.labels, self.answers.predicted, self.answers.values.shape[1])
        photos = matrix.sum(axis=1)
        return np.where(photos > 0, matrix.diagonal() / np.maximum(photos, 1), np.nan)

    def accepted(self, thresholds: RejectThresholds) -> NDArray[np.bool_]:
        """Which photos are sure enough to act on, [N]."""
        sure = (self.confidences >= thresholds.min_confidence) & (self.energies <= thresholds.max_energy)
        return np.asarray(sure, np.bool_)


def measure(classifier: Classifier, photos: PhotoSet, spec: PreprocessSpec) -> Measured:
    """Classify all photos of a set. Blocks."""
    outputs = [classifier.classify(batch) for batch in photos.batches(spec)]
    probabilities = np.concatenate([output.probabilities for output in outputs])
    energies = np.concatenate([output.energy for output in outputs])
    return Measured(photos.name, photos.light, Answers(probabilities, photos.labels(classifier.classes)), energies)


def metric(name: str, of: Literal["checkpoint", "exported"], answers: Answers) -> Metric:
    """Accuracy with its interval and macro-F1, as the manifest records them."""
    correct, total = int((answers.predicted == answers.labels).sum()), len(answers.labels)
    low, high = wilson_interval(correct, total)
    return Metric(
        split=name,
        photos=total,
        of=of,
        accuracy=correct / total,
        interval_low=low,
        interval_high=high,
        macro_f1=macro_f1(confusion_matrix(answers.labels, answers.predicted, answers.values.shape[1])),
    )
