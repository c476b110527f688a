"""What the network says of an image, checked, and whether that is enough to act on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from smartbin.classifier import ClassifierOutput
from smartbin.errors import InferenceError

Verdict: TypeAlias = Literal["accepted", "uncertain"]

_SUM_TOLERANCE = 1e-3


class RejectThresholds(BaseModel):
    """When a prediction is not good enough to act on; chosen on validation photos, part of the bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_confidence: float = Field(ge=0, le=1, description="accepted only at or above this confidence")
    max_energy: float = Field(description="accepted only at or below this energy (Liu et al., arXiv 2010.03759)")


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's class probabilities (they sum to 1), the best class, its lead over the second, and the energy."""

    label: str
    confidence: float
    margin: float
    probabilities: tuple[float, ...]
    energy: float

    def __post_init__(self) -> None:
        values = (*self.probabilities, self.energy)
        if len(self.probabilities) < 2 or not all(math.isfinite(value) for value in values):
            raise InferenceError(
                "the network's output is unusable",
                found=values,
                expected="two or more finite probabilities and an energy",
            )
        if abs(sum(self.probabilities) - 1) > _SUM_TOLERANCE or min(self.probabilities) < 0:
            raise InferenceError(
                "these are not probabilities", found=self.probabilities, expected="0 to 1, summing to 1"
            )


def probability_text(probability: float) -> str:
    """A probability (0 to 1) for people, in whole percent; never 0 % or 100 %, since no network is certain."""
    if probability > 0.99:
        return ">99%"
    return "<1%" if probability < 0.01 else f"{probability:.0%}"


def make_prediction(probabilities: Sequence[float], energy: float, classes: Sequence[str]) -> Prediction:
    """A `Prediction` from probabilities [C] and an energy; `InferenceError` if they do not fit `classes`."""
    if len(probabilities) != len(classes):
        raise InferenceError(
            "the network's output does not fit the classes",
            found=f"{len(probabilities)} probabilities",
            expected=f"{len(classes)} classes: {', '.join(classes)}",
        )
    values = tuple(float(value) for value in probabilities)
    best, second = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:2]
    return Prediction(classes[best], values[best], values[best] - values[second], values, float(energy))


def predictions(outputs: ClassifierOutput, classes: Sequence[str]) -> list[Prediction]:
    """One `Prediction` an image of the batch."""
    return [
        make_prediction(row, energy, classes)
        for row, energy in zip(outputs.probabilities.tolist(), outputs.energy.tolist(), strict=True)
    ]


def average(items: Sequence[Prediction], classes: Sequence[str]) -> Prediction:
    """The mean of the probabilities and of the energies of several frames of one item; never of class indices."""
    if not items:
        raise InferenceError("nothing to average", found="no predictions", expected="at least one")
    mean = np.mean([item.probabilities for item in items], axis=0)
    return make_prediction(mean.tolist(), float(np.mean([item.energy for item in items])), classes)


def decide(prediction: Prediction, thresholds: RejectThresholds) -> Verdict:
    """Whether a prediction is good enough to open its flap."""
    good = prediction.confidence >= thresholds.min_confidence and prediction.energy <= thresholds.max_energy
    return "accepted" if good else "uncertain"
