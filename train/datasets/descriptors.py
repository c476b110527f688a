"""Photos as vectors in which two photos of one object lie close together, whatever class either is of.

In: photos and weights. Out: one row a photo: what a network pre-trained on ImageNet sees in its last layer (the kind of
thing), the mean and spread of two layers in its middle (material and print), and a histogram of colours. Called by
`train/datasets/photo_groups.py`, once for a set of photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smartbin.images import BgrImage, LabelledPhoto
from smartbin.preprocess import PreprocessSpec
from train.cache.reading import PhotoStore
from train.console import progress, say
from train.inference import DevicePreparation, normalise
from train.loader import PhotoSamples, in_order, load_batches
from train.machine import worker_count
from train.machine_config import Machine
from train.networks.architectures import architecture_of
from train.networks.weights import load_weights

_BATCH = 32
_COLOUR_SIZE = (128, 96)
_COLOUR_BINS = (6, 12, 12)  # of lightness, and of the two colour axes of Lab


@dataclass(frozen=True, slots=True)
class SeeingNetwork:
    """A network and the modules whose outputs [N, C, H, W] describe a photo."""

    architecture: str
    middle: tuple[str, ...]
    last: str


LITE0 = SeeingNetwork("efficientnet_lite0", ("blocks.2", "blocks.4"), "bn2")


def describe_photos(
    photos: Sequence[LabelledPhoto], store: PhotoStore, network: SeeingNetwork, weights: str, machine: Machine
) -> NDArray[np.float32]:
    """Descriptors [N, D], rows of length 1: their products are similarities, 1 for the same photo.

    Each of the three kinds of features is standardised over these photos and has the same weight. `weights` is as for
    `load_weights`, which may raise `WeightsError`. Blocks; about as long as an epoch of validation.
    """
    seen, textures = _network_features(photos, store, network, weights, machine)
    colours = np.stack([_colours(store.training_image(photo.path)) for photo in photos])
    parts = [_unit(_standard(seen)), _unit(_standard(textures)), colours - colours.mean(axis=0)]
    return _unit(np.concatenate(parts, axis=1)).astype(np.float32)


def _network_features(
    photos: Sequence[LabelledPhoto], store: PhotoStore, network: SeeingNetwork, weights: str, machine: Machine
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    architecture = architecture_of(network.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architecture.build(2, 0.0, 0.0)
        say(f"photos are compared by {architecture.name}, {load_weights(model, architecture, weights).summary()}")
    cuda = machine.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    model.to(device).eval()
    samples = PhotoSamples(
        photos,
        tuple(sorted({photo.label for photo in photos})),
        store,
        DevicePreparation(PreprocessSpec(size=architecture.test_size)),
    )
    seen, textures = [], []
    with (
        _outputs(model, (*network.middle, network.last)) as outputs,
        progress("looking for photos of one object", len(photos)) as advance,
        torch.inference_mode(),
    ):
        for batch in load_batches(samples, in_order(len(photos), _BATCH), worker_count(machine)):
            model(normalise(batch.images.to(device), architecture))
            maps = [outputs[name] for name in network.middle]
            pooled = [pool for values in maps for pool in (values.mean(dim=(2, 3)), values.std(dim=(2, 3)))]
            textures.append(torch.cat(pooled, dim=1).cpu().numpy())
            seen.append(outputs[network.last].mean(dim=(2, 3)).cpu().numpy())
            advance(len(batch.labels), "")
    return np.concatenate(seen), np.concatenate(textures)


@contextmanager
def _outputs(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The last output of each of these modules, by name, after every pass through the network."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            del module, inputs
            kept[name] = output

        return model.get_submodule(name).register_forward_hook(hook)

    handles = [keep(name) for name in names]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _colours(image: BgrImage) -> NDArray[np.float32]:
    """Square roots of the shares of Lab colours, so that products of two of them are Bhattacharyya coefficients."""
    small = cv2.cvtColor(cv2.resize(image, _COLOUR_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2Lab)
    counts = cv2.calcHist([small], [0, 1, 2], None, list(_COLOUR_BINS), [0, 256, 0, 256, 0, 256]).ravel()
    return np.asarray(np.sqrt(counts / counts.sum()), np.float32)


def _standard(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6), np.float32)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9), np.float32)
