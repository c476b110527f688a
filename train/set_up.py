"""Setting up a run: data checked and read, network built, weights loaded.

Called by `train/loop.py`. Every error that can be foreseen is raised here, before the first epoch.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from lightning_fabric import Fabric
from timm.layers.norm_act import convert_sync_batchnorm
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from smartbin.atomic import write_text_atomic
from train.cache.reading import PhotoStore, open_photos
from train.checkpoint import CONFIG_FILE, begun_split, save_split
from train.config import TrainConfig, to_toml
from train.console import say
from train.datasets.photos import DataSet, fingerprint, open_data
from train.inference import DevicePreparation
from train.kept_batches import kept_on
from train.loader import PhotoSamples
from train.losses import Losses
from train.machine import describe_device, open_fabric, precision_of, worker_count
from train.networks.anchor import Anchor, anchor_of, anchor_of_run
from train.networks.architectures import Architecture, architecture_of
from train.networks.compiling import compiled
from train.networks.distillation import open_teachers
from train.networks.freezing import Frozen, freeze
from train.networks.front_supply import open_front
from train.networks.knowledge import Knowledge, knowledge_of
from train.networks.probe import has_linear_head, probe_head
from train.networks.weights import LoadedWeights, load_weights
from train.optimizer import make_optimizer
from train.ranks import check_batch, rank, ranks
from train.recipe import Recipe
from train.supply import open_supply, training_samples
from train.training import Position, Training


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


def _describe(data: DataSet, store: PhotoStore) -> None:
    say(f"data: {data.name}, split {data.split}: {len(data.train)} train, {len(data.val)} val, {len(data.test)} test")
    for note in data.notes:
        say(f"  note: {note}")
    if store.cached is not None:
        say(f"  {store.describe()}")
