"""Training on what a frozen front has made of the photos: whether that is possible, and the batches it gives.

A front's answers can be computed once when it is frozen, batch-norm statistics included, and when the photos that it
sees come again: without augmentation, or with `augment.views` of each. Then only the back of the network is computed
from the first epoch on, in training and in validation. `train/set_up.py` calls this while a run is set up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from smartbin.errors import ConfigError
from train.cache.folder import CacheUnusableError, default_cache_folder
from train.cache.reading import PhotoStore
from train.config import TrainConfig
from train.console import progress, say
from train.datasets.photos import DataSet, chosen_photos
from train.inference import DevicePreparation, channels_last, normalise
from train.loader import Batch, PhotoSamples, SampleKey, load_batches, view_keys
from train.machine import precision_of, worker_count
from train.networks.activation_map import ActivationMap, Packing
from train.networks.freezing import Frozen
from train.networks.front import Front, NoFrontError, find_front
from train.networks.front_cache import FrontCache, FrontSamples, front_key, weights_digest
from train.networks.network import Architecture
from train.ranks import share_of

_BATCH = 64


@dataclass(frozen=True, slots=True)
class KeptFront:
    """A front and what it made of the photos."""

    front: Front
    train: FrontSamples
    val: FrontSamples
    plain: FrontSamples
    """The training photos whose loss without augmentation is logged."""

    def load(self, batches: Sequence[Sequence[SampleKey]]) -> Iterator[Batch]:
        """Yield this rank's share of each training batch, in order; the images are activations [N, ..., C]."""
        return load_batches(self.train, [list(share_of(batch)) for batch in batches], 0)


def open_front(
    config: TrainConfig,
    model: nn.Module,
    architecture: Architecture,
    frozen: Frozen,
    fabric: Fabric,
    samples: PhotoSamples,
    data: DataSet,
    store: PhotoStore,
) -> KeptFront | None:
    """What the frozen front makes of the training photos, which `samples` prepares, and of those for validation.

    None, and a note, if it has to be computed for every batch; `ConfigError` if the recipe insists that it has not.
    """
    wish = config.recipe.front
    if wish == "off" or (wish == "auto" and not frozen.entries):
        return None
    try:
        front = _front_of(config, model, architecture, frozen, fabric.device)
        return _keep(config, _Maker(config, model, architecture, front, fabric), samples, data, store)
    except (NoFrontError, CacheUnusableError) as error:
        if wish != "auto":
            raise ConfigError(
                "the frozen front cannot be computed once", where="recipe.front", found=error, fix="--front auto"
            ) from error
        say(f"  note: the frozen front is computed for every batch ({error})")
        return None


def _front_of(
    config: TrainConfig, model: nn.Module, architecture: Architecture, frozen: Frozen, device: torch.device
) -> Front:
    if obstacle := _obstacle(config, frozen):
        raise NoFrontError(obstacle)
    side = config.train_side if config.augment.enabled else config.preprocess.size
    images = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return find_front(model, frozen, normalise(images.to(device), architecture))


def _keep(config: TrainConfig, maker: _Maker, samples: PhotoSamples, data: DataSet, store: PhotoStore) -> KeptFront:
    augment, classes = config.augment, data.classes
    plain, device = DevicePreparation(config.preprocess), config.preprocess.model_dump_json()
    chosen = chosen_photos(data.train, config.plain_train_photos, config.seed)
    views = augment.views if augment.enabled else 1
    rows = maker.make(samples, _augmented(config, data) if augment.enabled else device, views)
    val = maker.make(PhotoSamples(data.val, classes, store, plain), device, 1)
    if augment.enabled and chosen:
        shown, places = maker.make(PhotoSamples(chosen, classes, store, plain), device, 1), list(range(len(chosen)))
    else:
        numbers = {photo: number for number, photo in enumerate(data.train)}
        shown, places = rows, [numbers[photo] for photo in chosen]
    size = f"{rows.nbytes / 1e9:.2f} GB as {maker.packing}"
    say(f"  frozen front of {len(maker.front.modules)} modules computed once: {size}")
    return KeptFront(
        maker.front,
        FrontSamples(data.train, classes, rows, range(0, len(data.train) * views, views)),
        FrontSamples(data.val, classes, val, range(len(data.val))),
        FrontSamples(chosen, classes, shown, places),
    )


def _obstacle(config: TrainConfig, frozen: Frozen) -> str:
    """What in the configuration makes the front's answers change, or asks for the photos themselves."""
    recipe = config.recipe
    obstacles = {
        "nothing is frozen": not frozen.entries,
        "its batch norms follow the batches: frozen_statistics is off": not recipe.frozen_statistics,
        "every epoch augments anew; --views 5 or --no-augment would let it be": config.augment.enabled
        and not config.augment.views,
        "mixup and cutmix mix photos": bool(recipe.mixup or recipe.cutmix),
        "teachers look at the photos": bool(config.teacher and recipe.distill_weight),
        "what is to be kept is asked of the photos": bool(recipe.keep),
    }
    return next((name for name, there in obstacles.items() if there), "")


def _augmented(config: TrainConfig, data: DataSet) -> str:
    """Everything besides the photos that a view of one follows from; pasted scenes also show others of its class."""
    settings = [config.augment.model_dump_json(), config.brightness.model_dump_json()]
    settings += [str(config.train_side), str(config.photo_side), str(config.seed)]
    return " ".join([*settings, *(photo.label for photo in data.train)])


class _Maker:
    """Makes maps of what a front says of photos, or finds them."""

    def __init__(
        self, config: TrainConfig, model: nn.Module, architecture: Architecture, front: Front, fabric: Fabric
    ) -> None:
        self.config, self.model, self.architecture = config, model, architecture
        self.front, self.fabric = front, fabric
        folder = config.machine.cache_dir or default_cache_folder()
        self.cache = FrontCache(folder, round(config.machine.cache_gb * 1e9))
        wish = config.recipe.front
        self.packing: Packing = "float16" if wish == "auto" or wish == "off" else wish  # mypy narrows this
        self._weights = weights_digest(model, front)

    def make(self, samples: PhotoSamples, settings: str, views: int) -> ActivationMap:
        """A map of `views` rows a photo, photo after photo; `settings` say how `samples` prepares them."""
        digests = [samples.store.digests[photo.path] for photo in samples.photos]
        network = [self.architecture.name, *self.front.modules, self._weights, precision_of(self.fabric)]
        key = front_key([*network, torch.__version__, self.packing, settings, str(views)], digests)
        keys = [key for place in range(len(digests)) for key in view_keys(place, views, self.config.seed)]
        with self.fabric.rank_zero_first(local=True):
            return self.cache.open(key, self.packing, len(keys), lambda: self._rows(samples, keys))

    def _rows(self, samples: PhotoSamples, keys: Sequence[SampleKey]) -> Iterator[NDArray[np.float32]]:
        """float32 [..., C] of each sample."""
        batches = [list(keys[start : start + _BATCH]) for start in range(0, len(keys), _BATCH)]
        workers = worker_count(self.config.machine)
        self.model.eval()
        with progress("computing the frozen front once", len(keys)) as advance:
            for batch in load_batches(samples, batches, workers):
                inputs = normalise(batch.images.to(self.fabric.device, non_blocking=True), self.architecture)
                with torch.inference_mode(), self.fabric.autocast():
                    made = self.front.run(self.model, inputs).float()
                yield from channels_last(made).cpu().numpy()
                advance(len(batch.labels), "")
