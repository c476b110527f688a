"""A run that is set up: data checked and read, network built, weights loaded; and its state, saved and restored.

Called by `train/loop.py`. Every error that can be foreseen is raised here, before the first epoch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from timm.layers.norm_act import convert_sync_batchnorm
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from smartbin.atomic import write_text_atomic
from smartbin.errors import CheckpointError
from smartbin.images import LabelledPhoto
from train.cache.reading import PhotoStore, open_photos
from train.checkpoint import CONFIG_FILE, TrainState, begun_split, load_state, save_split, save_state
from train.config import TrainConfig, to_toml
from train.console import counted, say
from train.datasets.photos import DataSet, chosen_photos, fingerprint, open_data
from train.inference import DevicePreparation, network_inputs
from train.kept_batches import KeptBatches, kept_on
from train.loader import PhotoSamples, SampleKey, Samples, epoch_batches, epoch_keys, with_views
from train.losses import Losses
from train.machine import describe_device, open_fabric, precision_of, worker_count
from train.metrics import Epoch, GroupRate
from train.networks.anchor import Anchor, anchor_of, anchor_of_run
from train.networks.architectures import Architecture, architecture_of
from train.networks.compiling import compiled
from train.networks.distillation import Teachers, open_teachers
from train.networks.freezing import Frozen, freeze
from train.networks.front_supply import KeptFront, open_front
from train.networks.knowledge import Knowledge, knowledge_of
from train.networks.probe import has_linear_head, probe_head
from train.networks.weights import LoadedWeights, load_weights
from train.optimizer import make_optimizer
from train.ranks import check_batch, rank, ranks
from train.recipe import Recipe
from train.supply import Supply, open_supply, training_samples
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


def set_up(config: TrainConfig, path: Path) -> Training:
    """Check and read the data, build the network, load its weights, create the run directory.

    Raises `DataError`, `WeightsError` or `ConfigError`.
    """
    fabric = open_fabric(config.machine)
    check_batch(config.recipe.batch)
    path = fabric.broadcast(path)
    data = open_data(config, begun_split(path))
    architecture = architecture_of(config.model)
    torch.manual_seed(config.seed)
    model, weights = _load_network(config, architecture, len(data.classes), fabric)
    say(f"{architecture.name} on {describe_device(fabric.device)}, {precision_of(fabric)}")
    say(weights.summary())
    asked = config  # what is written down: `auto` means the same again when the run is resumed
    new_linear_head = not weights.head_loaded and has_linear_head(model, architecture)
    config = _with(config, config.recipe.settled(whole=weights.whole, new_linear_head=new_linear_head))
    frozen = freeze(model, architecture, config.recipe, frozenset(weights.loaded))
    if warning := weights.warning(frozen.entries):
        say(f"  warning: {warning}")
    with fabric.rank_zero_first(local=True):  # and so does decoding
        store = open_photos(data.photos(), config.machine, config.photo_side)
    _describe(data, store)
    begun_s = time.monotonic()
    probed = _to_device(model, architecture, frozen, config, data, store, fabric)
    config = _with(config, config.recipe.with_head(probed=probed, loaded=weights.head_loaded))
    say(config.recipe.describe_start())
    anchor, blended, knowledge = _what_is_kept(model, architecture, config, weights, data)
    decay = config.recipe.ema_decay
    ema = ModelEmaV3(model, decay=decay, use_warmup=True) if decay else None
    samples = training_samples(config, data, store)
    front = open_front(config, model, architecture, frozen, fabric, samples, data, store)
    trained = front.front.back_of(model) if front else model
    plain = make_optimizer(model, architecture, frozenset(weights.loaded), config.recipe)
    forward, optimizer = fabric.setup(compiled(trained, config.machine, fabric.device), plain)
    teachers = open_teachers(
        config.teacher, data.classes, architecture, fabric, temperature=config.recipe.distill_temperature
    )
    if teachers:
        part = config.recipe.distill_weight
        say(f"taught by {', '.join(teachers.names)}: {part:g} of the objective is to answer as they do")
    supply = front or open_supply(config, data, store, samples, fabric)
    set_up_s = time.monotonic() - begun_s
    digest = fingerprint(data, store.digests)
    if rank() == 0:
        path.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path / CONFIG_FILE, to_toml(asked))
        save_split(path, data, digest)
    return Training(
        config=config,
        path=path,
        data=data,
        store=store,
        supply=supply,
        fingerprint=digest,
        architecture=architecture,
        fabric=fabric,
        model=model,
        forward=forward,
        front=front,
        frozen=frozen,
        ema=ema,
        optimizer=optimizer,
        base_rates=[float(group["lr"]) for group in plain.param_groups],
        weights=weights,
        losses=Losses(fabric.device),
        validation=kept_on(fabric.device),
        plain_train=kept_on(fabric.device),
        teachers=teachers,
        position=Position(seconds=set_up_s, set_up_seconds=set_up_s),
        anchor=anchor,
        blended=blended,
        knowledge=knowledge,
    )


def _with(config: TrainConfig, recipe: Recipe) -> TrainConfig:
    return config.model_copy(update={"recipe": recipe})


def _load_network(
    config: TrainConfig, architecture: Architecture, classes: int, fabric: Fabric
) -> tuple[nn.Module, LoadedWeights]:
    model = architecture.build(classes, config.recipe.dropout, config.recipe.drop_path)
    with fabric.rank_zero_first(local=True):  # a download happens once on a machine
        weights = load_weights(model, architecture, config.weights, head_start=config.recipe.head_start)
    if ranks() > 1 and fabric.device.type == "cuda":
        model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # statistics over the whole batch, as with one rank
    return model, weights


def _to_device(
    model: nn.Module,
    architecture: Architecture,
    frozen: Frozen,
    config: TrainConfig,
    data: DataSet,
    store: PhotoStore,
    fabric: Fabric,
) -> bool:
    """The network in its place, and its head with the first weights that the recipe wants; whether it is a probe's."""
    if config.machine.channels_last:
        model.to(memory_format=torch.channels_last)
    model.to(fabric.device)
    if config.recipe.head_start != "probe":
        return False
    samples = PhotoSamples(data.train, data.classes, store, DevicePreparation(config.preprocess))
    return probe_head(model, architecture, frozen, samples, fabric, worker_count(config.machine))


def _what_is_kept(
    model: nn.Module, architecture: Architecture, config: TrainConfig, weights: LoadedWeights, data: DataSet
) -> tuple[Anchor, Anchor, Knowledge | None]:
    """The start itself, what is blended into the delivered weights, and what the loaded network knew."""
    recipe = config.recipe
    anchor = anchor_of(model, architecture, frozenset(weights.loaded), with_head=recipe.head_start == "probe")
    other = recipe.blend_with
    blended = anchor if other is None else anchor_of_run(other, architecture, data.classes)
    return anchor, blended, knowledge_of(model, architecture, config.weights) if recipe.keep else None


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


def _describe(data: DataSet, store: PhotoStore) -> None:
    say(f"data: {data.name}, split {data.split}: {len(data.train)} train, {len(data.val)} val, {len(data.test)} test")
    for note in data.notes:
        say(f"  note: {note}")
    if store.cached is not None:
        say(f"  {store.describe()}")
