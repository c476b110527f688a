"""Why the training loss lies where it does: the loss of training photos with one cause after another taken away.

Always the same few hundred training photos, chosen by the seed. After every epoch they are scored without augmentation,
as validation photos are; at the end of a run the final weights are scored on them in several ways, see `LossParts`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from train.augmentation.augment import Augmentation
from train.datasets.photos import chosen_photos
from train.inference import DevicePreparation
from train.loader import PhotoSamples, SampleKey, epoch_batches, load_batches
from train.machine import worker_count
from train.metrics import LossParts
from train.networks.network import split_outputs
from train.training import Training


def measure_loss_parts(training: Training) -> LossParts | None:
    """Score the chosen training photos in all the ways of `LossParts`; None if none are to be chosen.

    The networks are copied: nothing of the run changes. Takes eight passes over these photos.
    """
    config = training.config
    photos = chosen_photos(training.data.train, config.plain_train_photos, config.seed)
    if not photos or not config.loss_parts:
        return None
    keys = epoch_batches(_mixed_keys(len(photos), config.seed), config.recipe.batch)
    plain = PhotoSamples(photos, training.data.classes, training.store, DevicePreparation(config.preprocess))
    augmentation = Augmentation(config.augment, config.train_side, config.brightness)
    augmented = PhotoSamples(photos, training.data.classes, training.store, augmentation, shrunk=True)
    if not config.augment.enabled:
        augmented = plain

    def loss(samples: PhotoSamples, prepare: Callable[[nn.Module], None], model: nn.Module) -> float:
        network = copy.deepcopy(model)
        prepare(network)
        training.frozen.rest(network)
        return _mean_loss(training, network, samples, keys)

    average, same = training.average, training.average is training.model or config.recipe.deliver == "best"
    return LossParts(
        photos=sum(len(batch) for batch in keys),
        plain=loss(plain, _evaluating, average),
        augmented=loss(augmented, _evaluating, average),
        dropout=loss(plain, _dropping, average),
        batch_statistics=loss(plain, _by_batch, average),
        training=loss(plain, _training, average),
        augmented_training=loss(augmented, _training, average),
        not_averaged=None if same else loss(plain, _evaluating, training.model),
        not_averaged_training=None if same else loss(augmented, _training, training.model),
    )


def _mixed_keys(photos: int, seed: int) -> list[SampleKey]:
    """Every photo once, in an order that mixes the classes: batch norm's statistics are those of a training batch."""
    return [SampleKey(int(index), int(index)) for index in np.random.default_rng(seed).permutation(photos)]


def _mean_loss(training: Training, network: nn.Module, samples: PhotoSamples, batches: list[list[SampleKey]]) -> float:
    """Mean cross-entropy without label smoothing and mixing; dropout draws the same each time."""
    fabric, total, count = training.fabric, 0.0, 0
    torch.manual_seed(training.config.seed)
    with torch.no_grad():
        for batch in load_batches(samples, batches, worker_count(training.config.machine)):
            inputs = training.inputs(batch.images.to(fabric.device, non_blocking=True))
            with fabric.autocast():
                logits, _ = split_outputs(network(inputs))
            labels = batch.labels.to(fabric.device)
            total += float(nn.functional.cross_entropy(logits.float(), labels, reduction="sum"))
            count += len(labels)
    return total / count


def _evaluating(network: nn.Module) -> None:
    network.eval()


def _training(network: nn.Module) -> None:
    network.train()


def _dropping(network: nn.Module) -> None:
    """Dropout and stochastic depth as in training, batch norms as in evaluation."""
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def _by_batch(network: nn.Module) -> None:
    """Batch norms as in training, all else as in evaluation."""
    network.eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
