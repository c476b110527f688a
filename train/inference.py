"""A network over photos through the device preprocessing: logits. Used while training, at its end and by `evaluate`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from smartbin.images import BgrImage
from smartbin.preprocess import PreprocessSpec, to_input
from train.architectures import Architecture, split_outputs
from train.console import progress
from train.lighting import AS_IT_IS, Light
from train.loader import PhotoSamples, in_order, load_batches
from train.metrics import Outputs

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
    mean = torch.tensor(architecture.mean, device=images.device) * 255
    std = torch.tensor(architecture.std, device=images.device) * 255
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def classify(
    model: nn.Module,
    architecture: Architecture,
    samples: PhotoSamples,
    fabric: Fabric,
    *,
    workers: int,
    title: str,
    exact: bool = False,
) -> Outputs:
    """Logits of every photo, in order. `exact` computes in float32 whatever the precision of the run."""
    logits, labels = [], []
    model.eval()
    with progress(title, len(samples)) as advance, torch.inference_mode():
        for batch in load_batches(samples, in_order(len(samples), BATCH), workers):
            inputs = normalise(batch.images.to(fabric.device, non_blocking=True), architecture)
            with nullcontext() if exact else fabric.autocast():
                output, _ = split_outputs(model(inputs))
            logits.append(output.float().cpu().numpy())
            labels.append(batch.labels.numpy())
            advance(len(batch.labels), "")
    return Outputs(np.concatenate(logits), np.concatenate(labels))
