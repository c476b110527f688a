"""Average pools as depthwise convolutions: the same answers, and none of another kind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from export.average_pools import pools_to_convolutions


class Branches(nn.Module):
    """A pool before a narrowing convolution, as in InceptionV3; beside it what else may read a pool."""

    def __init__(self, *, bias: bool = True, width: int = 4) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.narrow = nn.Conv2d(12, width, 1, bias=bias)
        self.halve = nn.AvgPool2d(2)
        self.spread = nn.Conv2d(12, 12, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        halved = self.halve(images)
        return torch.relu(self.narrow(self.pool(images))), self.spread(halved), halved


def exported(network: nn.Module, folder: Path) -> Path:
    path = folder / "pools.onnx"
    program = torch.onnx.export(network.eval(), (torch.zeros(3, 12, 10, 14),), input_names=["x"], dynamo=True)
    assert program is not None
    program.save(path)
    return path


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("bias", [True, False])
def test_the_answers_are_the_same_and_the_narrow_convolution_comes_first(tmp_path: Path, bias: bool) -> None:
    torch.manual_seed(0)
    path = exported(Branches(bias=bias), tmp_path)
    images = np.random.default_rng(0).normal(size=(3, 12, 10, 14)).astype(np.float32)
    before = ort.InferenceSession(path).run(None, {"x": images})
    assert kinds(path)["AveragePool"] == 2
    assert pools_to_convolutions(path) == 2
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert kinds(path)["AveragePool"] == 0
    for found, expected in zip(ort.InferenceSession(path).run(None, {"x": images}), before, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    groups = [item.i for node in onnx.load(path).graph.node for item in node.attribute if item.name == "group"]
    assert sorted(groups) == [1, 1, 4, 12], "4 channels are averaged behind the narrow convolution, 12 elsewhere"


def test_a_convolution_that_widens_stays_behind_the_pool(tmp_path: Path) -> None:
    path = exported(Branches(width=24), tmp_path)
    assert pools_to_convolutions(path) == 2
    groups = [item.i for node in onnx.load(path).graph.node for item in node.attribute if item.name == "group"]
    assert sorted(groups) == [1, 1, 12, 12]


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        nn.AvgPool2d(3, stride=2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.MaxPool2d(3),
    ],
)
def test_what_is_no_convolution_is_left(tmp_path: Path, pool: nn.Module) -> None:
    path = exported(nn.Sequential(pool, nn.ReLU()), tmp_path)
    before = kinds(path)
    assert pools_to_convolutions(path) == 0
    assert kinds(path) == before
