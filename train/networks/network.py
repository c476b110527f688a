"""What a network that can be trained is: its sizes, its normalisation, its stages from front to head.

Stages exist for two things: learning rates that fall towards the front, and `--freeze-until STAGE`. A network takes
normalised float32 [N, 3, S, S] and returns logits [N, C]; in training mode InceptionV3 returns its auxiliary logits as
well, see `split_outputs`. `train/networks/architectures.py` lists the networks there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

Triple: TypeAlias = tuple[float, float, float]

DOWNLOADS = ("imagenet", "imagenet_v1")
"""Names of starting weights that are downloaded."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a network: every entry of its state dict under one of `prefixes`."""

    name: str
    prefixes: tuple[str, ...]

    def holds(self, entry: str) -> bool:
        """Whether a state-dict entry such as `layer1.0.conv1.weight` belongs to this stage."""
        return any(entry == prefix or entry.startswith(f"{prefix}.") for prefix in self.prefixes)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that can be trained. Sizes are pixels; `mean` and `std` are on the 0 to 1 scale, RGB."""

    name: str
    train_size: int
    test_size: int
    mean: Triple
    std: Triple
    stages: tuple[Stage, ...]
    """Front to back; the last one is the head, which always starts random when the classes differ."""
    build: Callable[[int, float, float], nn.Module]
    """(classes, dropout, drop_path) to a network with random weights."""
    download: Callable[[], dict[str, Tensor]]
    """Fetch the best ImageNet weights; needs a network."""
    download_v1: Callable[[], dict[str, Tensor]] | None = None
    """Fetch the first ImageNet weights that were published, where later ones are better."""
    min_train_size: int = 32
    """Smallest images to train on, with an auxiliary head where there is one."""
    min_test_size: int = 32
    """Smallest images that the layers can halve as often as they do."""
    fixed_size: bool = False
    """Whether it takes images of `train_size` only, as most vision transformers do."""

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages, front to back."""
        return tuple(stage.name for stage in self.stages)

    def stage_of(self, entry: str) -> int:
        """Index of the stage that holds a state-dict entry."""
        for index, stage in enumerate(self.stages):
            if stage.holds(entry):
                return index
        raise KeyError(f"{entry} belongs to no stage of {self.name}")

    def is_head(self, entry: str) -> bool:
        """Whether an entry belongs to the classifier, which depends on the classes."""
        return self.stages[-1].holds(entry)


def split_outputs(outputs: object) -> tuple[Tensor, Tensor | None]:
    """Logits [N, C] and auxiliary logits [N, C] (or None) of whatever a network of the registry returned."""
    if isinstance(outputs, Tensor):
        return outputs, None
    logits, auxiliary = outputs.logits, outputs.aux_logits  # type: ignore[attr-defined]  # torchvision's InceptionOutputs
    return logits, auxiliary
