"""A run that is set up, as `train/set_up.py` makes it: all that it needs; and its state, saved and restored.

Called by `train/loop.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from smartbin.errors import CheckpointError
from smartbin.images import LabelledPhoto
from smartbin.wording import counted
from train.cache.reading import PhotoStore
from train.checkpoint import TrainState, load_state, save_state
from train.config import TrainConfig
from train.console import say
from train.datasets.photos import DataSet, chosen_photos
from train.inference import DevicePreparation, network_inputs
from train.kept_batches import KeptBatches
from train.loader import PhotoSamples, SampleKey, Samples, epoch_batches, epoch_keys, with_views
from train.losses import Losses
from train.machine import worker_count
from train.metrics import Epoch, GroupRate
from train.networks.anchor import Anchor
from train.networks.architectures import Architecture
from train.networks.distillation import Teachers
from train.networks.freezing import Frozen
from train.networks.front_supply import KeptFront
from train.networks.knowledge import Knowledge
from train.networks.weights import LoadedWeights
from train.ranks import rank
from train.supply import Supply
from train.timing import StepTimes


@dataclass(slots=True)
class Position:
    """How far a run is: everything that changes besides weights and optimizer."""

    epoch: int = 0
    """Epochs that are done."""
    step: int = 0
    """Batches that are done of the next one."""
    seconds: float = 0.0
    """Time spent so far, resumed parts included."""
    set_up_seconds: float = 0.0
    """Of these, before the first epoch, as `RunMetrics` says."""
    epoch_seconds: float = 0.0
    """Of these, the training of the epoch under way, before the run was stopped in it."""
    history: list[Epoch] = field(default_factory=list)


@dataclass(slots=True)
class Training:
    """Everything a run needs, set up."""

    config: TrainConfig
    path: Path
    data: DataSet
    store: PhotoStore
    supply: Supply | KeptFront
    fingerprint: str
    architecture: Architecture
    fabric: Fabric
    model: nn.Module
    """The network itself; `forward` is what is trained of it, with precision and device handled by Fabric."""
    forward: nn.Module
    front: KeptFront | None
    """The frozen front's answers, if they are computed once: `forward` is then the back of the network."""
    frozen: Frozen
    ema: ModelEmaV3 | None
    """The moving average of the weights, if the recipe has one."""
    optimizer: torch.optim.Optimizer
    base_rates: list[float]
    weights: LoadedWeights
    losses: Losses
    """Of the batches that are done of the next epoch."""
    validation: KeptBatches
    plain_train: KeptBatches
    """Of training photos without augmentation."""
    teachers: Teachers | None
    position: Position
    anchor: Anchor
    blended: Anchor
    """What is blended into the delivered weights, if the recipe says so."""
    knowledge: Knowledge | None
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the best epoch so far, if the recipe delivers these."""
    times: StepTimes = field(default_factory=lambda: StepTimes(torch.device("cpu")))
    """Of the epoch under way."""

    @property
    def average(self) -> nn.Module:
        """The network that is validated and delivered: with averaged weights, if the recipe has an average."""
        return self.model if self.ema is None else self.ema.module

    @property
    def labels(self) -> list[str]:
        """Class of each training photo."""
        return [photo.label for photo in self.data.train]

    @property
    def evaluation_workers(self) -> int:
        """Loader processes for scoring: none for decoded photos, since a resize takes a millisecond."""
        return 0 if self.store.cached is not None else worker_count(self.config.machine)

    def rates(self) -> list[GroupRate]:
        """Learning rate of every group of parameters, as it is now."""
        groups = self.optimizer.param_groups
        return [
            GroupRate(name=str(group.get("name", number)), rate=float(group["lr"]))
            for number, group in enumerate(groups)
        ]

    def inputs(self, images: Tensor) -> Tensor:
        """What `forward` takes of a batch's images (or activations), in the memory format that the machine wants."""
        inputs = network_inputs(images, self.architecture)
        return inputs if self.config.machine.channels_last else inputs.contiguous()

    def val_samples(self, first: int = 0) -> Samples:
        """The validation photos, or the first so many, through the device preprocessing (and the front, if kept)."""
        photos = self.data.val[:first] if first else self.data.val
        return replace(self.front.val, photos=photos) if self.front else self._plain(photos)

    def plain_samples(self) -> Samples:
        """The training photos whose loss without augmentation is logged; there may be none."""
        photos = chosen_photos(self.data.train, self.config.plain_train_photos, self.config.seed)
        return self.front.plain if self.front else self._plain(photos)

    def _plain(self, photos: Sequence[LabelledPhoto]) -> PhotoSamples:
        return PhotoSamples(photos, self.data.classes, self.store, DevicePreparation(self.config.preprocess))

    def batches(self, epoch: int) -> list[list[SampleKey]]:
        """The batches of an epoch, which follow from the seed alone."""
        keys = epoch_keys(self.labels, self.config.recipe.balance, self.config.seed, epoch)
        augment = self.config.augment
        if augment.enabled and augment.views:
            keys = with_views(keys, augment.views, self.config.seed, epoch)
        return epoch_batches(keys, self.config.recipe.batch, whole=self.config.recipe.whole_batches)


def save(training: Training) -> None:
    """Write the state to resume from; all ranks must call it."""
    position = training.position
    loss_sum, objective_sum = training.losses.sums()
    if rank():
        return
    state = TrainState(
        version=1,
        epoch=position.epoch,
        step=position.step,
        model=training.model.state_dict(),
        ema=training.ema.module.state_dict() if training.ema else {},
        best=training.best,
        teachers=training.teachers.digest if training.teachers else "",
        optimizer=training.optimizer.state_dict(),
        loss_sum=loss_sum,
        objective_sum=objective_sum,
        seconds=position.seconds,
        set_up_seconds=position.set_up_seconds,
        epoch_seconds=position.epoch_seconds,
        history=json.dumps([record.model_dump() for record in position.history]),
        fingerprint=training.fingerprint,
    )
    save_state(training.path, state)


def restore(training: Training) -> None:
    """Continue from the state in the run directory; `CheckpointError` if the photos are others than before."""
    state = load_state(training.path)
    if state["fingerprint"] != training.fingerprint:
        raise CheckpointError(
            "the photos have changed since this run began",
            where=training.data.where,
            found=training.fingerprint[:12],
            expected=state["fingerprint"][:12],
            fix="restore them, or start a new run",
        )
    if training.teachers and state.get("teachers", "") != training.teachers.digest:
        raise CheckpointError(
            "a teacher has changed since this run began",
            where=", ".join(training.config.teacher),
            fix="restore its run directory, or start a new run",
        )
    training.model.load_state_dict(state["model"])
    if training.ema:
        training.ema.module.load_state_dict(state["ema"])
    training.best = state.get("best", {})
    training.optimizer.load_state_dict(state["optimizer"])
    training.losses.restart(state["loss_sum"], state["objective_sum"])
    set_up_s = training.position.set_up_seconds  # it was done once more
    training.position = Position(
        epoch=state["epoch"],
        step=state["step"],
        seconds=state["seconds"] + set_up_s,
        set_up_seconds=state.get("set_up_seconds", 0.0) + set_up_s,
        epoch_seconds=state.get("epoch_seconds", 0.0),
        history=[Epoch.model_validate(record) for record in json.loads(state["history"])],
    )
    say(f"resumed after epoch {state['epoch']} and {counted(state['step'], 'step')}")
