"""How far a picture lies from the training photos in the network's own features; nothing of it is learned by gradient.

The features are what the last linear layer gets. They are scaled to length 1, which takes away how strongly a picture
excites the network (Müller & Hein, arXiv 2505.18032, "Mahalanobis++"), and the distance is the part of them that lies
outside the principal directions of the training photos (the residual of Wang et al., arXiv 2203.10807, "ViM").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

DIRECTIONS = 64
"""Principal directions kept; from 32 to 256 the figures hardly change."""
USUAL_SHARE = 0.15
"""How much the distance counts in a bundle's energy unless told otherwise (`distance_weight`): about the least with
which the built-in bundle holds back four of five other things (docs/results.md 9)."""


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """Mean [D] and principal directions [D, K] of the training photos' features, scaled to length 1."""

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distance of each row of features [N, D] from the mean, directions left out: [N], 0 to 2."""
        offsets = _unit(features).astype(np.float64) - self.mean  # a small difference of squares follows
        along = offsets @ self.directions
        squares = (offsets**2).sum(axis=1) - (along**2).sum(axis=1)
        return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)


def fit_feature_space(features: NDArray[np.float32], directions: int = DIRECTIONS) -> FeatureSpace:
    """The space of the training photos' features [N, D]; at most half of all directions are kept."""
    units = _unit(features).astype(np.float64)
    mean = units.mean(axis=0)
    offsets = units - mean
    _, vectors = np.linalg.eigh(offsets.T @ offsets)  # ascending
    kept = max(1, min(directions, features.shape[1] // 2, len(features) - 1))
    return FeatureSpace(mean.astype(np.float32), vectors[:, -kept:].astype(np.float32))


def distance_weight(energies: NDArray[np.floating], distances: NDArray[np.floating], share: float) -> float:
    """What to multiply distances with so that their spread is `share` times the energies'.

    Both [N] are of the validation photos, the spread is the standard deviation. A fixed factor would do nothing for a
    network whose distances are small: those of a ResNet50 spread a third as far as an EfficientNet's, its energies
    twice as far.
    """
    spread = float(np.std(distances))
    return share * float(np.std(energies)) / spread if spread > 0 else 0.0


@contextmanager
def collected_features(model: nn.Module) -> Iterator[list[NDArray[np.float32]]]:
    """Inside, every forward pass of `model` appends its features [N, D] to the list that is yielded.

    Nothing is appended for a network without a linear layer.
    """
    found: list[NDArray[np.float32]] = []
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        found.append(inputs[0].detach().flatten(1).float().cpu().numpy())

    handle = layers[-1].register_forward_pre_hook(keep) if layers else None
    try:
        yield found
    finally:
        if handle is not None:
            handle.remove()


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), np.float32)
