"""Every gate is seen to refuse: a deliberately broken step, and nothing is written."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.build import ExportOptions, ExportSteps, export_bundle
from export.device_graph import add_bytes_input, add_probabilities, check_graph
from export.parity import LIMITS, Answers, Precision, check_outputs, check_parity, compare
from export.torch_graph import export_network
from smartbin.bundle import Parity
from smartbin.classifier import ClassifierOutput, FunctionClassifier
from smartbin.errors import ExportError
from train.checkpoint import TrainedRun, load_run

NetworkStep: TypeAlias = Callable[[nn.Module, int, Path], object]


class _Swapped(nn.Module):
    """Takes BGR for RGB."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(torch.flip(pixels, dims=(1,)))


def _swapped_channels(network: nn.Module, size: int, path: Path) -> None:
    export_network(_Swapped(network), size, path)


def _training_mode(network: nn.Module, size: int, path: Path) -> None:
    """Batch statistics instead of the learned ones, which is what training mode means to batch normalisation."""
    broken = copy.deepcopy(network)
    for module in broken.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    export_network(broken, size, path)


def _wrong_mean(source: Path, target: Path, *, mean: object, std: tuple[float, float, float], cast_first: bool) -> None:
    add_bytes_input(source, target, mean=(0.0, 0.0, 0.0), std=std, cast_first=cast_first)


def _missing_softmax(source: Path, target: Path, *, temperature: float, notes: Mapping[str, str]) -> None:
    add_probabilities(source, target, temperature=temperature, notes=notes)
    model = onnx.load(target)
    next(node for node in model.graph.node if node.op_type == "Softmax").op_type = "LeakyRelu"
    del next(node for node in model.graph.node if node.op_type == "LeakyRelu").attribute[:]
    onnx.save(model, target)


def _not_finite(source: Path, target: Path, *, temperature: float, notes: Mapping[str, str]) -> None:
    add_probabilities(source, target, temperature=temperature, notes=notes)
    model = onnx.load(target)
    constant = next(item for item in model.graph.initializer if item.name == "temperature")
    constant.CopyFrom(numpy_helper.from_array(np.asarray(np.nan, np.float32), "temperature"))
    onnx.save(model, target)


def _wrong_energy(source: Path, target: Path, *, temperature: float, notes: Mapping[str, str]) -> None:
    """Without its sign, which no probability shows."""
    add_probabilities(source, target, temperature=temperature, notes=notes)
    model = onnx.load(target)
    next(node for node in model.graph.node if node.op_type == "Neg").op_type = "Abs"
    onnx.save(model, target)


@pytest.fixture(scope="module")
def good_network(tiny_run_path: Path, tmp_path_factory: pytest.TempPathFactory) -> NetworkStep:
    """The right graph, traced once: what the other steps break needs no trace of its own."""
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    run = load_run(tiny_run_path)
    export_network(run.build_model(), run.preprocess.size, path)
    return lambda network, size, target: shutil.copyfile(path, target)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        pytest.param(ExportSteps(network=_swapped_channels), "other classes than", id="swapped channels"),
        pytest.param(ExportSteps(network=_training_mode), "batches of 1", id="training mode"),
        pytest.param(ExportSteps(bytes_input=_wrong_mean), "checkpoint", id="wrong mean"),
        pytest.param(ExportSteps(probabilities=_missing_softmax), "softmax missing", id="missing softmax"),
        pytest.param(ExportSteps(probabilities=_not_finite), "not finite", id="not finite"),
        pytest.param(ExportSteps(probabilities=_wrong_energy), "energies are not", id="wrong energy"),
    ],
)
def test_a_broken_export_is_refused(
    tiny_run: TrainedRun, good_network: NetworkStep, tmp_path: Path, steps: ExportSteps, message: str
) -> None:
    if steps.network is export_network:
        steps = dataclasses.replace(steps, network=good_network)
    out = tmp_path / "bundle"
    options = ExportOptions(precision="fp32", out=out, name="tiny", version="1")
    with pytest.raises(ExportError, match=message) as caught:
        export_bundle(tiny_run, options, steps=steps)
    assert caught.value.found is not None or caught.value.where is not None
    assert caught.value.fix
    assert list(tmp_path.iterdir()) == []


def _answers(change: Callable[[np.ndarray], None]) -> tuple[Answers, Answers]:
    labels = np.arange(200) % 3
    logits = np.eye(3)[labels] * 6.0
    reference = Answers(logits, labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    change(probabilities)
    return reference, Answers(probabilities, labels)


SAME = np.zeros(200), np.zeros(200)  # energies


def _flip(count: int) -> Callable[[np.ndarray], None]:
    def change(probabilities: np.ndarray) -> None:
        probabilities[:count] = np.roll(probabilities[:count], 1, axis=1)

    return change


@pytest.mark.parametrize(
    ("precision", "flipped", "message"),
    [
        pytest.param("fp32", 0, None, id="fp32, the same"),
        pytest.param("fp32", 1, "other classes", id="fp32 may not change one decision"),
        pytest.param("fp16", 0, None, id="fp16, the same"),
        pytest.param("fp16", 1, "probabilities are not", id="fp16 may not move a probability far"),
        pytest.param("fp16", 2, "other classes", id="fp16 may not change 1 in 100"),
        pytest.param("int8", 1, None, id="int8 may change 1 in 200"),
        pytest.param("int8", 2, "less accurate", id="int8 within agreement, but more than .005 less accurate"),
        pytest.param("int8", 4, "other classes", id="int8 may not change 2 in 100"),
    ],
)
def test_limits_by_precision(precision: str, flipped: int, message: str | None) -> None:
    reference, exported = _answers(_flip(flipped))
    parity = compare(reference, exported, 1.0, SAME)
    if message is None:
        check_parity(parity, reference, exported, precision)
        return
    with pytest.raises(ExportError, match=message):
        check_parity(parity, reference, exported, precision)


@pytest.mark.parametrize(
    ("precision", "off", "refused"),
    [("fp32", 0.005, False), ("fp32", 0.02, True), ("fp16", 0.1, True), ("int8", 0.4, False), ("int8", 0.6, True)],
)
def test_energies_are_held_against_their_spread(precision: Precision, off: float, refused: bool) -> None:
    energies = np.asarray([-12.0, -8.0] * 20)  # their spread is 2
    reference, exported = _answers(_flip(0))
    parity = compare(reference, exported, 1.0, (energies, energies + off * 2))
    assert parity.energy_difference == pytest.approx(off)
    with pytest.raises(ExportError, match="energies are not") if refused else contextlib.nullcontext():
        check_parity(parity, reference, exported, precision)


def test_energies_that_depend_on_the_batch_are_refused() -> None:
    class Mixing(FunctionClassifier):
        def classify(self, batch: np.ndarray) -> ClassifierOutput:
            output = super().classify(batch)
            return ClassifierOutput(output.probabilities, output.energy + np.float32(len(batch) / 100))

    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)
    mixing = Mixing(("a", "b"), 8, lambda batch: batch[:, 0, 0, :2] / 255)
    with pytest.raises(ExportError, match="batches of 1") as caught:
        check_outputs(mixing, images)
    assert "energies" in str(caught.value.found)


def test_probabilities_that_differ_are_refused_even_with_the_same_classes() -> None:
    reference, exported = _answers(lambda _: None)
    parity = Parity(
        photos=200, top1_agreement=1.0, max_abs_probability_difference=0.01, mean_abs_probability_difference=0.001
    )
    assert LIMITS["fp32"].max_abs_probability_difference < 0.01
    with pytest.raises(ExportError, match="probabilities are not the checkpoint's"):
        check_parity(parity, reference, exported, "fp32")


def test_a_graph_that_is_not_valid_onnx_is_refused(tmp_path: Path) -> None:
    model = onnx.helper.make_model(
        onnx.helper.make_graph([onnx.helper.make_node("NoSuchOperator", ["a"], ["b"])], "broken", [], [])
    )
    with pytest.raises(ExportError, match="not valid ONNX"):
        check_graph(model, tmp_path)
