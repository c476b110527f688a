"""Where the training batches of an epoch come from: made by loader processes on the CPU, or on the device itself.

Both make the same of a seed (`train/augmentation/draws.py`), up to the noise itself. Of several ranks each takes its
own share of every batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from smartbin.errors import ConfigError
from train.augmentation.augment import Augmentation
from train.augmentation.scenes import prepare_scenes
from train.cache.reading import PhotoStore, estimated_bytes
from train.config import TrainConfig
from train.console import say
from train.datasets.photos import DataSet
from train.device_photos import DeviceBatches, upload_photos
from train.inference import DevicePreparation
from train.loader import Batch, PhotoSamples, SampleKey, load_batches
from train.machine import worker_count
from train.machine_config import Machine
from train.ranks import share_of

_SHARE_OF_DEVICE = 0.4  # of its memory, all of it: what is free now may differ when a run is resumed


@dataclass(frozen=True, slots=True)
class Supply:
    """The source of training batches."""

    samples: PhotoSamples
    on_device: DeviceBatches | None
    machine: Machine

    def load(self, batches: Sequence[Sequence[SampleKey]]) -> Iterator[Batch]:
        """Yield this rank's share of each batch, in order."""
        own = [list(share_of(batch)) for batch in batches]
        if self.on_device is not None:
            return self.on_device.load(own)
        return load_batches(self.samples, own, worker_count(self.machine))


def training_samples(config: TrainConfig, data: DataSet, store: PhotoStore) -> PhotoSamples:
    """The training photos, augmented if the configuration says so."""
    augmentation = Augmentation(config.augment, config.train_side, config.brightness)
    pasted = config.augment.enabled and config.augment.paste > 0
    return PhotoSamples(
        data.train,
        data.classes,
        store,
        augmentation if config.augment.enabled else DevicePreparation(config.preprocess),
        shrunk=config.augment.enabled,
        scenes=prepare_scenes(data.train, store, config.augment.paste) if pasted else None,
    )


def open_supply(config: TrainConfig, data: DataSet, store: PhotoStore, samples: PhotoSamples, fabric: Fabric) -> Supply:
    """Choose, and copy the photos to the device if batches are made there; `ConfigError` if that is not possible."""
    if not _on_device(config, data, store, fabric.device):
        return Supply(samples, None, config.machine)
    photos = upload_photos((store.training_image(photo.path) for photo in data.train), fabric.device)
    say(f"  training photos on the device, augmented there: {photos.nbytes / 1e9:.2f} GB")
    labels = [data.classes.index(photo.label) for photo in data.train]
    batches = DeviceBatches(photos, labels, config.augment, config.train_side, config.brightness)
    return Supply(samples, batches, config.machine)


def _on_device(config: TrainConfig, data: DataSet, store: PhotoStore, device: torch.device) -> bool:
    """Whether to augment on the device: as the machine's settings say, `auto` where it is a GPU with room enough."""
    wish = config.machine.augment_on
    if wish == "cpu" or (wish == "auto" and (device.type != "cuda" or not config.augment.enabled)):
        return False
    if not config.augment.enabled:
        raise ConfigError(
            "nothing to do on the device", where="machine.augment_on", found="augment.enabled = false",
            fix="--augment-on auto",
        )  # fmt: skip
    if config.augment.paste:
        if wish == "device":
            raise ConfigError(
                "scenes are made on the CPU only",
                where="machine.augment_on",
                found=f"augment.paste = {config.augment.paste:g}",
                fix="--augment-on auto, or --paste 0",
            )
        say("  note: augmentation runs on the CPU, where scenes are made (--paste)")
        return False
    if wish == "device":
        return True
    needed = estimated_bytes([photo.path for photo in data.train], store.side)
    room = _SHARE_OF_DEVICE * torch.cuda.get_device_properties(device).total_memory
    if needed > room:
        say(
            f"  note: augmentation runs on the CPU, the training photos ({needed / 1e9:.1f} GB) would take more than "
            f"{_SHARE_OF_DEVICE:.0%} of the device's memory"
        )
    return needed <= room
