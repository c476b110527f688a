"""A network of a few thousand weights, so that whole runs through the real entry point take a second or two."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from train.networks.architectures import HALF, Architecture, Stage, register

NAME = "tiny"
GROUPS = "tiny_groups"
"""The same with group norm, which does not depend on the other photos of a batch."""


class TinyNetwork(nn.Module):
    """Two convolutions with batch norm, dropout (so that random states matter), a linear head called fc."""

    def __init__(self, classes: int, dropout: float, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), norm(8), nn.ReLU())
        self.back = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, bias=False), norm(16), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(16, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.back(self.front(inputs)).mean(dim=(2, 3))
        return self.fc(self.dropout(features))


def _no_network() -> dict[str, Tensor]:
    raise OSError("no network in tests")


def register_tiny() -> None:
    norms: dict[str, Callable[[int], nn.Module]] = {NAME: nn.BatchNorm2d, GROUPS: lambda count: nn.GroupNorm(4, count)}
    for name, norm in norms.items():
        register(
            Architecture(
                name=name,
                train_size=32,
                test_size=32,
                mean=HALF,
                std=HALF,
                stages=(Stage("front", ("front",)), Stage("back", ("back",)), Stage("head", ("fc",))),
                build=lambda classes, dropout, drop_path, norm=norm: TinyNetwork(classes, dropout, norm),
                download=_no_network,
            )
        )


if __name__ == "__main__":
    register_tiny()
    torch.set_num_threads(1)
    from train.run import main

    code = main(sys.argv[1:])
    if "WORLD_SIZE" in os.environ:
        print("threads left:", *sorted(file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")))
    raise SystemExit(code)
