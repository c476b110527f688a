"""A frozen network as an eye: photos in, the features in front of its classifier out.

Labels are checked against these features. They come from a finished run, or from starting weights that never saw the
photos, which is the better judge: a network that was trained on a wrong label may have learned it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from smartbin.errors import ConfigError
from smartbin.images import BgrImage
from smartbin.preprocess import PreprocessSpec, to_input
from train.checkpoint import load_run
from train.inference import normalise
from train.networks.architectures import Architecture, architecture_of
from train.networks.feature_distance import collected_features
from train.networks.weights import LoadedWeights, load_weights

_BATCH = 32


@dataclass(slots=True)
class FrozenNetwork:
    """A network in eval mode, with the preprocessing and the description of where it is from."""

    model: nn.Module
    architecture: Architecture
    spec: PreprocessSpec
    device: torch.device
    origin: str
    note: str = ""
    """What is amiss with its weights."""


def network_of_run(path: Path, device: torch.device) -> FrozenNetwork:
    """The network of a finished run; `CheckpointError` if it is none."""
    run = load_run(path)
    origin = f"{run.architecture} of the run {path.name}, trained on {run.data}"
    return FrozenNetwork(
        run.build_model().to(device), architecture_of(run.architecture), run.preprocess, device, origin
    )


def network_of_weights(name: str, weights: str, device: torch.device) -> FrozenNetwork:
    """A network with starting weights, as `--model` and `--weights` name them; `WeightsError` if they do not fit."""
    architecture = architecture_of(name)
    torch.manual_seed(0)
    model = architecture.build(2, 0.0, 0.0)  # the head is not used
    loaded = load_weights(model, architecture, weights)
    spec, origin = PreprocessSpec(size=architecture.test_size), f"{name}, weights {loaded.source}"
    return FrozenNetwork(model.eval().to(device), architecture, spec, device, origin, _gaps(architecture, loaded))


def _gaps(architecture: Architecture, loaded: LoadedWeights) -> str:
    body = [name for name in (*loaded.loaded, *loaded.missing) if not architecture.is_head(name)]
    missing = sum(not architecture.is_head(name) for name in loaded.missing)
    if not missing:
        return ""
    return (
        f"{missing} of the {len(body)} entries of {architecture.name} are not in its weights ({loaded.source}) and are "
        "random: what is said of labels and look-alikes is worth less"
    )


class FeatureTap:
    """Takes photos one by one, puts them through the network in batches and keeps their features."""

    def __init__(self, network: FrozenNetwork, found: list[NDArray[np.float32]]) -> None:
        self._network = network
        self._found = found
        self._inputs: list[NDArray[np.uint8]] = []

    def add(self, image: BgrImage) -> None:
        """Put an image uint8 [H, W, 3] BGR through the device preprocessing and, with others, through the network."""
        self._inputs.append(to_input(image, self._network.spec).image)
        if len(self._inputs) == _BATCH:
            self._flush()

    def finish(self) -> NDArray[np.float32]:
        """The features of all photos that were added, float32 [photos, F], in their order.

        Raises `ConfigError` for a network without a linear layer.
        """
        self._flush()
        if not self._found:
            name = self._network.architecture.name
            raise ConfigError("this network has no linear classifier to take features from", found=name)
        return np.concatenate(self._found)

    def _flush(self) -> None:
        if self._inputs:
            images = torch.from_numpy(np.stack(self._inputs)).to(self._network.device)
            self._inputs.clear()
            with torch.inference_mode():
                self._network.model(normalise(images, self._network.architecture))


@contextmanager
def tapped(network: FrozenNetwork | None) -> Iterator[FeatureTap | None]:
    """A tap on the network's features; None without a network."""
    if network is None:
        yield None
        return
    with collected_features(network.model) as found:
        yield FeatureTap(network, found)
