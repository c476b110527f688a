"""A finished run of a network of a few hundred weights that tells photos by colour; made in a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smartbin.images import LabelledPhoto, read_image
from smartbin.preprocess import PreprocessSpec, stack_inputs, to_input
from train.checkpoint import METRICS_FILE, ModelRecord, save_model
from train.datasets.split_record import SPLIT_FILE, SourceRecord, SplitRecord
from train.metrics import Outputs, RunMetrics, score
from train.networks.architectures import ARCHITECTURES, Architecture, Stage

CLASSES = ("glass", "metal", "paper")
COLOURS_BGR = {"glass": (190, 110, 60), "metal": (60, 180, 110), "paper": (70, 90, 200)}
MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.22, 0.2)
SPEC = PreprocessSpec(size=32)
PHOTOS = {"train": 12, "val": 8, "test": 1}


class TinyNetwork(nn.Module):
    """Convolution, depthwise convolution, pooling, classifier: the kinds of layers of the real networks."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.widen = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(24, classes)

    def features(self, pixels: Tensor) -> Tensor:
        return self.pool(self.widen(self.depthwise(self.stem(pixels)))).flatten(1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier(self.features(pixels))


def _no_download() -> dict[str, Tensor]:
    raise AssertionError("tests download nothing")


TINY = Architecture(
    name="tiny",
    train_size=32,
    test_size=32,
    mean=MEAN,
    std=STD,
    stages=(Stage("stem", ("stem", "depthwise", "widen")), Stage("head", ("classifier",))),
    build=lambda classes, dropout, drop_path: TinyNetwork(classes),
    download=_no_download,
)


@contextmanager
def tiny_architecture() -> Iterator[None]:
    """The registry of architectures with `tiny` in it."""
    registry = MappingProxyType({**ARCHITECTURES, "tiny": TINY})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.networks.architectures.ARCHITECTURES", registry)
        yield


def draw_coloured_photos(root: Path, counts: dict[str, int], seed: int = 0) -> dict[str, list[LabelledPhoto]]:
    """Photos in class folders below `root`, one colour a class, by part."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[LabelledPhoto]] = {}
    for part, count in counts.items():
        for label, colour in COLOURS_BGR.items():
            (root / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = np.asarray(colour) + rng.normal(0, 12, (36, 48, 3)) + rng.uniform(-25, 25, (1, 1, 3))
                path = root / label / f"{label}-{part}{number + 1}.png"
                cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8))
                parts.setdefault(part, []).append(LabelledPhoto(path, label))
    return parts


def write_tiny_run(folder: Path) -> Path:
    """A run directory `folder/run` on photos in `folder/photos`. The last layer is fitted by least squares."""
    photos = draw_coloured_photos(folder / "photos", PHOTOS)
    torch.manual_seed(0)
    network = TinyNetwork(len(CLASSES))
    pixels, labels = _pixels(photos["train"]), torch.tensor([CLASSES.index(item.label) for item in photos["train"]])
    with torch.no_grad():
        network.train()
        for _ in range(60):  # until the running statistics are those of the photos
            network(pixels)
        network.eval()
        features = torch.cat([network.features(pixels), torch.ones(len(pixels), 1)], dim=1)
        target = torch.nn.functional.one_hot(labels, len(CLASSES)).double() * 8 - 4
        ridge = features.T.double() @ features.double() + 1e-3 * torch.eye(features.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(ridge, features.T.double() @ target).float()
        network.classifier.weight.copy_(solution[:-1].T)
        network.classifier.bias.copy_(solution[-1])
        logits = network(_pixels(photos["val"])).numpy()
    return write_run(folder, TINY, network, photos, logits)


def write_run(
    folder: Path,
    architecture: Architecture,
    network: nn.Module,
    photos: dict[str, list[LabelledPhoto]],
    logits: np.ndarray,
) -> Path:
    """The run directory `folder/run` of a network on photos below `folder/photos`; `logits` of the validation part."""
    run = folder / "run"
    run.mkdir()
    record = ModelRecord(
        architecture=architecture.name, classes=CLASSES, mean=architecture.mean, std=architecture.std,
        preprocess=PreprocessSpec(size=architecture.test_size), seed=0, epochs=1, weights="none",
        data="garbage", data_fingerprint="0" * 64, git_commit=None,
    )  # fmt: skip
    save_model(run, network.state_dict(), record)
    root = folder / "photos"
    parts = {
        part: tuple(f"garbage/{item.path.relative_to(root).as_posix()}" for item in items)
        for part, items in photos.items()
    }
    source = SourceRecord(name="garbage", root=root, labels={label: label for label in CLASSES})
    split = SplitRecord(
        name="garbage", sources=(source,), split="seeded", classes=CLASSES, fingerprint="0" * 64, notes=(), parts=parts
    )
    (run / SPLIT_FILE).write_text(split.model_dump_json(), encoding="utf-8")
    found = score(Outputs(logits, np.asarray([CLASSES.index(item.label) for item in photos["val"]])), CLASSES)
    metrics = RunMetrics(history=[], train=found, val=found, test=None, seconds=1, device="cpu", precision="fp32")
    (run / METRICS_FILE).write_text(metrics.model_dump_json(), encoding="utf-8")
    return run


def _pixels(photos: list[LabelledPhoto]) -> Tensor:
    images = stack_inputs([to_input(read_image(photo.path), SPEC) for photo in photos])
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (planes - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
