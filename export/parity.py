"""The gates: an exported file is only written into a bundle if it says what the checkpoint says, on real photos.

The reference is torch in float32, normalised here from the run's own mean and standard deviation, and not by the graph
under test; a wrong mean, swapped channels, a network in training mode or a missing softmax therefore show.
There is no switch that turns a gate off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from smartbin.bundle import Parity
from smartbin.calibration import softmax
from smartbin.classifier import Classifier, ClassifierOutput
from smartbin.errors import ExportError, SmartbinError

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]

_SUM_TOLERANCE = 1e-4
_REPEAT_TOLERANCE = 1e-6
#: One photo alone and in a batch may take other kernels, and so other orders of summation.
_BATCH_TOLERANCE = 1e-4
#: Of energies: a network that says the same of all photos has none, and rounding would count for everything.
_LEAST_SPREAD = 0.05
#: An energy is some ten times as large as a probability.
_ENERGY_TOLERANCES = 10
_FIX = "this is a fault of the export: report it with the run directory; no bundle was written"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a precision may cost against torch float32."""

    top1_agreement: float
    max_abs_probability_difference: float
    accuracy_drop: float
    energy_difference: float
    """Root mean square, as a part of the spread of torch's energies over the photos."""


LIMITS: dict[Precision, Limits] = {
    "fp32": Limits(top1_agreement=1.0, max_abs_probability_difference=1e-3, accuracy_drop=0.0, energy_difference=0.01),
    "fp16": Limits(
        top1_agreement=0.995, max_abs_probability_difference=0.05, accuracy_drop=0.005, energy_difference=0.05
    ),
    # Quantisation moves photos near a decision border a lot and the others hardly: bound decisions, not the maximum.
    "int8": Limits(
        top1_agreement=0.985, max_abs_probability_difference=1.0, accuracy_drop=0.005, energy_difference=0.5
    ),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits or probabilities [N, C] of the validation photos, with their labels [N]."""

    values: NDArray[np.floating]
    labels: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the best class, [N]."""
        return np.asarray(self.values.argmax(axis=1), np.int64)

    @property
    def accuracy(self) -> float:
        """Part of the photos whose best class is their label."""
        return float((self.predicted == self.labels).mean())


def reference_logits(
    network: nn.Module, batches: Iterator[NDArray[np.uint8]], mean: tuple[float, ...], std: tuple[float, ...]
) -> NDArray[np.float32]:
    """Torch's logits [N, C] of network inputs uint8 [n, S, S, 3] RGB, with the normalisation of the run."""
    offset, spread = torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)
    rows = []
    with torch.inference_mode():
        for batch in batches:
            planes = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255.0
            rows.append(network((planes - offset) / spread).numpy())
    return np.concatenate(rows).astype(np.float32)


def check_outputs(classifier: Classifier, sample: NDArray[np.uint8]) -> None:
    """`ExportError` unless outputs are finite probabilities, repeat exactly, and do not depend on the batch.

    `sample` is uint8 [N >= 3, S, S, 3], real photos. A network left in training mode fails here, since its batch
    normalisation mixes the photos of a batch.
    """
    whole = _classify(classifier, sample)
    for name, values in (("probabilities", whole.probabilities), ("energy", whole.energy)):
        if not np.isfinite(values).all():
            raise ExportError("the exported file gives numbers that are not finite", where=name, fix=_FIX)
    sums, least = whole.probabilities.sum(axis=1), float(whole.probabilities.min())
    if least < 0 or float(np.abs(sums - 1).max()) > _SUM_TOLERANCE:
        raise ExportError(
            "the exported file gives no probabilities (softmax missing?)",
            where="probabilities",
            found=f"sums {sums.min():.4f} to {sums.max():.4f}, least value {least:.4f}",
            expected="values of at least 0 that sum to 1",
            fix=_FIX,
        )
    _same(
        "the exported file answers differently on the same photos",
        whole,
        _classify(classifier, sample),
        _REPEAT_TOLERANCE,
    )
    for size in (1, 3):
        parts = [_classify(classifier, sample[start : start + size]) for start in range(0, len(sample), size)]
        joined = ClassifierOutput(
            np.concatenate([part.probabilities for part in parts]), np.concatenate([part.energy for part in parts])
        )
        message = f"the exported file answers differently in batches of {size} (training mode, or a fixed batch?)"
        _same(message, whole, joined, _BATCH_TOLERANCE)


def compare(
    reference: Answers,
    exported: Answers,
    temperature: float,
    energies: tuple[NDArray[np.floating], NDArray[np.floating]],
) -> Parity:
    """How far exported probabilities are from torch's logits at the same temperature, on the same photos.

    `energies` [N]: those expected, and those of the exported file.
    """
    difference = np.abs(softmax(reference.values, temperature) - exported.values)
    return Parity(
        photos=len(reference.labels),
        top1_agreement=float((reference.predicted == exported.predicted).mean()),
        max_abs_probability_difference=float(difference.max()),
        mean_abs_probability_difference=float(difference.mean()),
        energy_difference=energy_difference(*energies),
    )


def check_parity(parity: Parity, reference: Answers, exported: Answers, precision: Precision) -> None:
    """`ExportError` naming the figure that is beyond the limit of this precision.

    Energies that are not torch's would hold back other photos, and with the probabilities they say that the logits are
    the same: a probability tells nothing of a shift of all.
    """
    limits = LIMITS[precision]
    drop = reference.accuracy - exported.accuracy
    fix = (
        _FIX
        if precision == "fp32"
        else f"export fp32, or train further: {precision} fails on networks that are unsure of most photos"
    )
    where = f"{precision}, {parity.photos} validation photos"
    if parity.top1_agreement < limits.top1_agreement:
        raise ExportError(
            "the exported file chooses other classes than the checkpoint",
            where=where,
            found=f"agreement {parity.top1_agreement:.4f}",
            expected=f"at least {limits.top1_agreement}",
            fix=fix,
        )
    if parity.max_abs_probability_difference > limits.max_abs_probability_difference:
        raise ExportError(
            "the exported file's probabilities are not the checkpoint's",
            where=where,
            found=f"difference up to {parity.max_abs_probability_difference:.2g}",
            expected=f"at most {limits.max_abs_probability_difference:g}",
            fix=fix,
        )
    if drop > limits.accuracy_drop + 1e-9:
        raise ExportError(
            "the exported file is less accurate than the checkpoint",
            where=where,
            found=f"{exported.accuracy:.4f} against {reference.accuracy:.4f}",
            expected=f"at most {limits.accuracy_drop} less",
            fix=fix,
        )
    if parity.energy_difference is None or not parity.energy_difference <= limits.energy_difference:
        raise ExportError(
            "the exported file's energies are not the checkpoint's",
            where=where,
            found=f"{parity.energy_difference or 0:.2g} of their spread apart",
            expected=f"at most {limits.energy_difference:g}",
            fix=fix,
        )


def energy_difference(expected: NDArray[np.floating], exported: NDArray[np.floating]) -> float:
    """Root mean square of what energies [N] are off, as a part of the spread of those that are expected."""
    off = np.asarray(exported, np.float64) - expected
    return float(np.sqrt((off**2).mean()) / max(float(np.std(expected)), _LEAST_SPREAD))


def _classify(classifier: Classifier, batch: NDArray[np.uint8]) -> ClassifierOutput:
    try:
        return classifier.classify(batch)
    except SmartbinError as error:
        raise ExportError(
            "the exported file does not run", where=f"a batch of {len(batch)}", found=str(error), fix=_FIX
        ) from error


def _same(what: str, first: ClassifierOutput, second: ClassifierOutput, tolerance: float) -> None:
    pairs = (
        ("probabilities", first.probabilities, second.probabilities, tolerance),
        ("energies", first.energy, second.energy, tolerance * _ENERGY_TOLERANCES),
    )
    for name, one, other, most in pairs:
        worst = float(np.abs(one - other).max())
        if worst > most:
            raise ExportError(what, found=f"{name} up to {worst:.2g} apart", expected=f"at most {most:g}", fix=_FIX)
