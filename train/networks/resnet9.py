"""ResNet9, the small baseline that learns from scratch: convolutions with two residual pairs, 6.6 million weights.

The layout is that of the well-known DAWNBench entry: 64 and 128 channels, a residual pair, 256 and 512, another pair,
the maximum over all places, a linear layer. `train/networks/architectures.py` registers it.
"""

from __future__ import annotations

from torch import Tensor, nn

STAGE_NAMES = ("conv1", "conv2", "residual1", "conv3", "conv4", "residual2", "head")


class _Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = inputs + self.second(self.first(inputs))
        return result


class ResNet9(nn.Module):
    """Normalised float32 [N, 3, S, S] to logits [N, C]; S is a multiple of 8, or rounded down to one by the pooling."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 64)
        self.conv2 = _convolution(64, 128, pool=True)
        self.residual1 = _Residual(128)
        self.conv3 = _convolution(128, 256, pool=True)
        self.conv4 = _convolution(256, 512, pool=True)
        self.residual2 = _Residual(512)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(512, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        features = self.residual1(self.conv2(self.conv1(inputs)))
        features = self.residual2(self.conv4(self.conv3(features)))
        # The maximum over all places, whatever the size of the photos; the original pooled 4 x 4 of its 32 px images.
        logits: Tensor = self.head(self.dropout(features.amax(dim=(2, 3))))
        return logits


def _convolution(inputs: int, outputs: int, *, pool: bool = False) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.MaxPool2d(2)) if pool else nn.Sequential(*layers)
