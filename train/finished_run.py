"""A finished run's network over photos: loaded once, photos opened once. Used by `evaluate` and by studies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from smartbin.images import LabelledPhoto
from smartbin.preprocess import PreprocessSpec
from train.augmentation.lighting import AS_IT_IS, Light
from train.cache.reading import PhotoStore, open_photos
from train.checkpoint import TrainedRun
from train.inference import DevicePreparation, classify
from train.loader import PhotoSamples
from train.machine import open_fabric, worker_count
from train.machine_config import Machine
from train.metrics import Outputs
from train.networks.architectures import architecture_of
from train.networks.feature_distance import collected_features


class FinishedRun:
    """The network of `run` on the device that `machine` names; both are opened when it is first asked."""

    def __init__(self, run: TrainedRun, machine: Machine) -> None:
        self.run = run
        self._machine = machine
        self._stores: dict[tuple[LabelledPhoto, ...], PhotoStore] = {}

    @cached_property
    def _fabric(self) -> Fabric:
        return open_fabric(self._machine)

    @cached_property
    def _model(self) -> nn.Module:
        return self.run.build_model().to(self._fabric.device)

    def outputs(
        self,
        photos: Sequence[LabelledPhoto],
        title: str,
        *,
        light: Light = AS_IT_IS,
        spec: PreprocessSpec | None = None,
    ) -> Outputs:
        """Logits of the photos put into `light`, through the run's own preprocessing unless `spec` is another."""
        listed = tuple(photos)
        if listed not in self._stores:
            self._stores[listed] = open_photos(listed, self._machine)
        preparation = DevicePreparation(spec or self.run.preprocess, light)
        return classify(
            self._model,
            architecture_of(self.run.architecture),
            PhotoSamples(listed, self.run.classes, self._stores[listed], preparation),
            self._fabric,
            workers=worker_count(self._machine),
            title=title,
            exact=self._machine.precision != "bf16",
        )

    def features(self, photos: Sequence[LabelledPhoto], title: str) -> NDArray[np.float32] | None:
        """What the last linear layer gets of each photo, [N, D]; None for a network without one."""
        with collected_features(self._model) as found:
            self.outputs(photos, title)
        return np.concatenate(found) if found else None
