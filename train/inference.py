"""A network over photos through the device preprocessing: logits. Used while training, at its end and by `evaluate`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from smartbin.images import BgrImage
from smartbin.preprocess import PreprocessSpec, to_input
from train.augmentation.lighting import AS_IT_IS, Light
from train.console import progress
from train.kept_batches import KeptBatches
from train.loader import Samples, in_order
from train.metrics import Outputs
from train.networks.architectures import Architecture, Triple, split_outputs
from train.ranks import gathered, rank, ranks

BATCH = 64


@dataclass(frozen=True, slots=True)
class DevicePreparation:
    """The device preprocessing, if wished after the photo was put into another light."""

    spec: PreprocessSpec
    light: Light = AS_IT_IS

    def __call__(self, image: BgrImage, seed: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] BGR to uint8 [S, S, 3] RGB; `seed` is that of the sensor noise."""
        return to_input(self.light.on(image, seed), self.spec).image


def normalise(images: Tensor, architecture: Architecture) -> Tensor:
    """uint8 [N, S, S, 3] RGB to normalised float32 [N, 3, S, S], channels last in memory."""
    mean, std = _constants(architecture.mean, architecture.std, images.device)
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def network_inputs(images: Tensor, architecture: Architecture) -> Tensor:
    """What a network or the back of one takes: images, see `normalise`, or activations, see `channels_last`."""
    if not images.is_floating_point():
        return normalise(images, architecture)
    return images.float().movedim(-1, 1)


def channels_last(activations: Tensor) -> Tensor:
    """Activations [N, C, ...] as [N, ..., C], the order in which they are kept."""
    return activations.movedim(1, -1)


@lru_cache(maxsize=8)
def _constants(mean: Triple, std: Triple, device: torch.device) -> tuple[Tensor, Tensor]:
    """On the scale of bytes. Kept, since copying them to a GPU would wait for it."""
    return torch.tensor(mean, device=device) * 255, torch.tensor(std, device=device) * 255


def classify(
    model: nn.Module,
    architecture: Architecture,
    samples: Samples,
    fabric: Fabric,
    *,
    workers: int,
    title: str,
    exact: bool = False,
    kept: KeptBatches | None = None,
) -> Outputs:
    """Logits of every photo, in order. `exact` computes in float32 whatever the precision of the run.

    Of several ranks each computes a part, and all get the whole. `kept` are the inputs from an earlier call.
    """
    logits = [torch.empty(0, len(samples.classes), device=fabric.device)]
    model.eval()
    batches = in_order(len(samples), BATCH, first=rank(), step=ranks())
    source = KeptBatches(fabric.device, 0) if kept is None else kept
    with progress(title, len(samples)) as advance, torch.inference_mode():
        for batch in source.load(samples, batches, workers):
            inputs = network_inputs(batch.images, architecture)
            with nullcontext() if exact else fabric.autocast():
                output, _ = split_outputs(model(inputs))
            logits.append(output.float())  # left on the device: fetching it would wait
            advance(len(batch.labels) * ranks(), "")
        rows = torch.cat(logits).cpu().numpy()
    labels = np.asarray([samples.classes.index(photo.label) for photo in samples.photos], np.int64)
    return Outputs(gathered(rows, len(samples)), labels)
