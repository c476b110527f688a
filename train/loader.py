"""Photos to batches uint8 [N, S, S, 3] RGB and labels [N], with the same augmentation whatever the number of workers.

A training sample is named by a photo and a seed that follows from (run seed, epoch, place in the epoch). So the batches
of an epoch are a plain list, the same in every process, and a resumed run continues in the middle of it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from smartbin.images import BgrImage, LabelledPhoto
from train.augmentation.scenes import Scenes
from train.cache.reading import PhotoStore

Prepare: TypeAlias = Callable[[BgrImage, int], NDArray[np.uint8]]
"""A photo uint8 [H, W, 3] BGR and a seed to a network input uint8 [S, S, 3] RGB."""


class SampleKey(NamedTuple):
    """A photo, by its place in the list, the seed of its augmentation, and its number among the photo's views."""

    photo: int
    seed: int
    view: int = 0


class Sample(NamedTuple):
    """A network input uint8 [S, S, 3] RGB, or what a front made of one, floats [..., C]; and the index of its class."""

    image: NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float16]
    label: int


class Batch(NamedTuple):
    """Inputs uint8 [N, S, S, 3] RGB, or activations, floats [N, ..., C]; and labels int64 [N]."""

    images: Tensor
    labels: Tensor


class Samples(Dataset[Sample]):
    """Samples of labelled photos: `PhotoSamples`, or what a front made of them."""

    photos: Sequence[LabelledPhoto]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, key: SampleKey) -> Sample:
        """The sample of a photo of the list."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PhotoSamples(Samples):
    """Photos as network inputs: augmented, or through the device preprocessing."""

    photos: Sequence[LabelledPhoto]
    classes: tuple[str, ...]
    store: PhotoStore
    prepare: Prepare
    shrunk: bool = False
    """Photos for training, at most the store's `side` long; all others have all their pixels."""
    scenes: Scenes | None = None
    """Takes the place of some photos."""

    def __getitem__(self, key: SampleKey) -> Sample:
        photo = self.photos[key.photo]
        image = None if self.scenes is None else self.scenes.draw(key.photo, key.seed)
        if image is None:
            image = self.store.training_image(photo.path) if self.shrunk else self.store.image(photo.path)
        label = self.classes.index(photo.label)
        return Sample(self.prepare(image, key.seed), label)


def epoch_keys(labels: Sequence[str], balance: float, seed: int, epoch: int) -> list[SampleKey]:
    """The samples of an epoch, as many as there are photos, shuffled; labels [photos].

    A class with n photos is drawn in proportion to n**(1 - balance). Within an epoch the photos of a class are
    all used once before one is used again.
    """
    rng = np.random.default_rng([seed, epoch])
    members: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    shares = np.array([len(indices) ** (1 - balance) for indices in members.values()])
    quotas = _whole_numbers(shares / shares.sum() * len(labels))
    drawn: list[int] = []
    for indices, quota in zip(members.values(), quotas, strict=True):
        rounds = math.ceil(quota / len(indices))
        order = np.concatenate([rng.permutation(indices) for _ in range(rounds)]) if rounds else np.empty(0, int)
        drawn += [int(index) for index in order[:quota]]
    shuffled = rng.permutation(drawn)
    seeds = rng.integers(2**63, size=len(shuffled))
    return [SampleKey(int(index), int(sample_seed)) for index, sample_seed in zip(shuffled, seeds, strict=True)]


def view_keys(photo: int, views: int, seed: int) -> list[SampleKey]:
    """All views of a photo, for augmentation that is made once; the same for the same seed."""
    seeds = np.random.default_rng([seed, photo, views]).integers(2**63, size=views)
    return [SampleKey(photo, int(view_seed), view) for view, view_seed in enumerate(seeds)]


def with_views(keys: Sequence[SampleKey], views: int, seed: int, epoch: int) -> list[SampleKey]:
    """The samples of an epoch with a view of each photo: another one in the next epoch, and where one comes twice."""
    drawn: dict[int, int] = defaultdict(int)
    found = []
    for key in keys:
        found.append(view_keys(key.photo, views, seed)[(epoch + drawn[key.photo]) % views])
        drawn[key.photo] += 1
    return found


def epoch_batches(keys: Sequence[SampleKey], size: int, *, whole: bool = True) -> list[list[SampleKey]]:
    """Batches of exactly `size` samples (batch norm fails on a last batch of one); one smaller if there are fewer.

    Without `whole` a smaller last batch is kept, too, if it has two samples or more.
    """
    if len(keys) <= size:
        return [list(keys)]
    least = size if whole else min(2, size)
    return [list(keys[start : start + size]) for start in range(0, len(keys) - least + 1, size)]


def in_order(count: int, size: int, *, first: int = 0, step: int = 1) -> list[list[SampleKey]]:
    """All of `count` samples in order (or every `step`th from `first`), for evaluation; the seed is the place."""
    keys = [SampleKey(index, index) for index in range(first, count, step)]
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def load_batches(samples: Samples, batches: list[list[SampleKey]], workers: int) -> Iterator[Batch]:
    """Yield the batches in order, loaded by `workers` processes (0: by this one)."""
    yield from DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        multiprocessing_context=_start_method() if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else every start of a loader draws from the generator that dropout uses
    )


def _collate(samples: Sequence[Sample]) -> Batch:
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Batch(images, torch.tensor([sample.label for sample in samples]))


def _start_method() -> str | None:
    """Fork shares the decoded photos; where there is none, workers get a copy."""
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else None


def _start_worker(number: int) -> None:
    """Signals are for the training process, which then stops its workers.

    A SIGTERM may reach them all the same: torchrun and others send it to the whole group of processes. A worker that
    died of it would take the training process down before that has saved. So only one from that process counts.
    """
    del number
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told_by, args=[os.getppid()], daemon=True).start()


def _end_when_told_by(parent: int) -> None:
    """Wait for a SIGTERM from the process `parent`, which would not wait for anything to be put in order."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _whole_numbers(shares: NDArray[np.float64]) -> list[int]:
    """Whole numbers with the same sum: the largest remainders are rounded up."""
    floors = np.floor(shares).astype(int)
    for index in np.argsort(floors - shares, kind="stable")[: round(shares.sum()) - floors.sum()]:
        floors[index] += 1
    return [int(number) for number in floors]
