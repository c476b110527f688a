"""Learning from larger runs: what finished runs say about the very photos that a step trains on.

The soft targets are the mean of the teachers' probabilities at a temperature; `train/objective.py` holds the student to
them (Hinton et al., arXiv 1503.02531).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from smartbin.errors import ConfigError
from train.checkpoint import MODEL_FILE, TrainedRun, load_run
from train.networks.network import Architecture, Triple, split_outputs


@dataclass(frozen=True, slots=True)
class _Teacher:
    model: nn.Module
    mean: Triple
    std: Triple
    size: int


class Teachers:
    """Finished runs as teachers of a student of architecture `student`, on Fabric's device and at its precision."""

    def __init__(self, runs: Sequence[TrainedRun], student: Architecture, fabric: Fabric, temperature: float) -> None:
        self.student, self.fabric, self.temperature = student, fabric, temperature
        self.names = tuple(f"{run.path.resolve().name} ({run.architecture}, {run.weights})" for run in runs)
        self.digest = _digest(runs)
        self._teachers = [
            _Teacher(run.build_model().requires_grad_(False).to(fabric.device), run.mean, run.std, run.preprocess.size)
            for run in runs
        ]

    def soft_targets(self, inputs: Tensor) -> Tensor:
        """Probabilities [N, C] for the student's inputs float32 [N, 3, S, S], augmented and mixed as they are.

        Each teacher sees them with its own normalisation and at its own size, by bilinear interpolation.
        """
        with torch.no_grad(), self.fabric.autocast():
            found = [self._probabilities(teacher, inputs) for teacher in self._teachers]
        return torch.stack(found).mean(dim=0)

    def _probabilities(self, teacher: _Teacher, inputs: Tensor) -> Tensor:
        scale = _planes(self.student.std, inputs) / _planes(teacher.std, inputs)
        shift = (_planes(self.student.mean, inputs) - _planes(teacher.mean, inputs)) / _planes(teacher.std, inputs)
        seen = inputs * scale + shift
        if seen.shape[-1] != teacher.size:
            size = (teacher.size, teacher.size)
            seen = nn.functional.interpolate(seen, size, mode="bilinear", antialias=True, align_corners=False)
        logits, _ = split_outputs(teacher.model(seen))
        return (logits.float() / self.temperature).softmax(dim=1)


def open_teachers(
    paths: Sequence[str], classes: Sequence[str], student: Architecture, fabric: Fabric, temperature: float
) -> Teachers | None:
    """The runs in `paths` as teachers, or None without any.

    Raises `CheckpointError` for a run that is not finished and `ConfigError` for one with other classes.
    """
    runs = [load_run(path) for path in paths]
    for run in runs:
        if tuple(run.classes) != tuple(classes):
            raise ConfigError(
                "a teacher knows other classes than the student has to learn",
                where=f"teacher {run.path}",
                found=", ".join(run.classes),
                expected=", ".join(classes),
                fix="train the teacher on data with these classes",
            )
    return Teachers(runs, student, fabric, temperature) if runs else None


def _digest(runs: Sequence[TrainedRun]) -> str:
    """SHA-256 over the weights of all teachers."""
    digest = hashlib.sha256()
    for run in runs:
        digest.update(hashlib.sha256(Path(run.path / MODEL_FILE).read_bytes()).digest())
    return digest.hexdigest()


def _planes(values: Triple, like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device).view(1, 3, 1, 1)
