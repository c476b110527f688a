"""A network of a few thousand weights, so that whole runs through the real entry point take a second or two."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from train.architectures import HALF, Architecture, Stage, register

NAME = "tiny"


class TinyNetwork(nn.Module):
    """Two convolutions with batch norm, dropout (so that random states matter), a linear head called fc."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.back = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(16, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.back(self.front(inputs)).mean(dim=(2, 3))
        return self.fc(self.dropout(features))


def _no_network() -> dict[str, Tensor]:
    raise OSError("no network in tests")


def register_tiny() -> None:
    register(
        Architecture(
            name=NAME,
            train_size=32,
            test_size=32,
            mean=HALF,
            std=HALF,
            stages=(Stage("front", ("front",)), Stage("back", ("back",)), Stage("head", ("fc",))),
            build=lambda classes, dropout, drop_path: TinyNetwork(classes, dropout),
            download=_no_network,
        )
    )


if __name__ == "__main__":
    register_tiny()
    torch.set_num_threads(1)
    from train.run import main

    raise SystemExit(main(sys.argv[1:]))
