"""The training loop of the work that smartbin starts from, built again from its description, to be timed beside ours.

PIL reads every photo from its file in every epoch; `RandomResizedCrop`, a flip, ImageNet's normalisation; float32;
plain Adam at one rate over the last children of the network, batch norms of the frozen ones left in training mode; the
loss is fetched after every batch; each epoch ends with the validation photos, resized and centre-cropped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.usual_way import normalise, resize_and_crop
from smartbin.images import LabelledPhoto
from train.networks.architectures import Architecture, split_outputs
from train.networks.weights import load_weights

RATE = 5.5e-5


@dataclass(frozen=True, slots=True)
class EpochTimes:
    """An epoch: photos trained on, seconds for that, seconds for validation, accuracy there."""

    photos: int
    train_s: float
    validation_s: float
    accuracy: float

    @property
    def seconds(self) -> float:
        """Of the whole epoch."""
        return self.train_s + self.validation_s


@contextmanager
def image_folders(parts: dict[str, Sequence[LabelledPhoto]]) -> Iterator[Path]:
    """A temporary folder with a folder of class folders for each part, all links: what `ImageFolder` reads."""
    with TemporaryDirectory(prefix="smartbin-original-") as name:
        root = Path(name)
        for part, photos in parts.items():
            for number, photo in enumerate(photos):
                folder = root / part / photo.label
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{number:06d}{photo.path.suffix}").symlink_to(photo.path.resolve())
        yield root


class OriginalLoop:
    """Trains on `folders/train`, validates on `folders/val`, an epoch a call."""

    def __init__(
        self,
        folders: Path,
        architecture: Architecture,
        *,
        weights: str,
        freeze: int,
        size: int,
        batch: int,
        workers: int,
        device: torch.device,
    ) -> None:
        self.device = device
        planes = normalise(architecture.mean, architecture.std)
        crop = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
        train = datasets.ImageFolder(str(folders / "train"), transforms.Compose([*crop, planes]))
        val = datasets.ImageFolder(str(folders / "val"), transforms.Compose([resize_and_crop(size), planes]))
        order = torch.Generator().manual_seed(0)
        self.train_loader = DataLoader(train, batch_size=batch, shuffle=True, num_workers=workers, generator=order)
        self.val_loader = DataLoader(val, batch_size=batch, num_workers=workers)
        self.model = architecture.build(len(train.classes), 0.0, 0.0)
        load_weights(self.model, architecture, weights, head_start="linear")
        for child in list(self.model.children())[:freeze]:
            child.requires_grad_(False)
        self.model.to(device)
        self.criterion = nn.CrossEntropyLoss()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=RATE)

    def epoch(self) -> EpochTimes:
        """Train on all photos once, then validate."""
        begun_s = time.perf_counter()
        photos = self._train()
        trained_s = time.perf_counter()
        accuracy = self._validate()
        return EpochTimes(photos, trained_s - begun_s, time.perf_counter() - trained_s, accuracy)

    def _train(self) -> int:
        self.model.train()
        photos, running_loss = 0, 0.0
        for images, labels in self.train_loader:
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad()
            logits, _ = split_outputs(self.model(images))
            loss = self.criterion(logits, labels)
            loss.backward()
            self.optimizer.step()
            running_loss += loss.item() * len(labels)
            photos += len(labels)
        if math.isnan(running_loss):
            raise RuntimeError("the original's loop has diverged")
        return photos

    def _validate(self) -> float:
        self.model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in self.val_loader:
                found = self.model(images.to(self.device)).argmax(dim=1)
                right += int((found == labels.to(self.device)).sum())
        return right / len(self.val_loader.dataset)  # type: ignore[arg-type]  # an ImageFolder has a length
