"""What int8 is calibrated on, and the bias correction; the photos' way in is tested here, too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, nn

from export.bias_correction import correct_biases, rounding_error, shift_logits
from export.device_graph import add_bytes_input
from export.photo_batches import PhotoSet, class_balanced, open_class_folders, take_evenly
from export.quantisation import RANGE_METHODS, CalibrationPhotos, quantise, read_calibration_photos, run_logits
from export.straight_bytes import feed_bytes
from export.torch_graph import export_network
from smartbin.errors import DataError, ExportError
from smartbin.images import LabelledPhoto, read_image
from smartbin.preprocess import to_input
from tests.tiny_run import CLASSES, MEAN, SPEC, STD
from train.checkpoint import TrainedRun


@pytest.fixture
def float_graph(tiny_run: TrainedRun, tmp_path: Path) -> Path:
    export_network(tiny_run.build_model(), SPEC.size, tmp_path / "network.onnx")
    add_bytes_input(tmp_path / "network.onnx", tmp_path / "float.onnx", mean=MEAN, std=STD)
    return tmp_path / "float.onnx"


def _photos(counts: dict[str, int]) -> list[LabelledPhoto]:
    return [
        LabelledPhoto(Path(f"{label}{number}.jpg"), label) for label, count in counts.items() for number in range(count)
    ]


def test_a_balanced_draw_takes_the_classes_in_turn_and_all_of_a_small_one() -> None:
    drawn = class_balanced(_photos({"glass": 50, "metal": 40, "trash": 3}), per_class=10, seed=0)
    assert Counter(photo.label for photo in drawn) == {"glass": 10, "metal": 10, "trash": 3}
    assert [photo.label for photo in drawn[:6]] == ["glass", "metal", "trash"] * 2
    assert len(set(drawn)) == len(drawn)


def test_a_limit_keeps_every_class_of_a_sorted_list() -> None:
    photos = _photos({"glass": 30, "metal": 30, "trash": 30})
    assert {photo.label for photo in take_evenly(photos, 5)} == {"glass", "metal", "trash"}
    assert take_evenly(photos, None) == tuple(photos)


def calibration(run: TrainedRun, ranges: int, judges: int) -> CalibrationPhotos:
    return read_calibration_photos(run.photos("train"), run.photos("val"), SPEC, ranges=ranges, judges=judges)


def test_calibration_photos_are_split_and_partly_dark(tiny_run: TrainedRun) -> None:
    found = calibration(tiny_run, 24, 12)
    assert (len(found.ranges), len(found.judges)) == (24, 12)
    again = calibration(tiny_run, 24, 12)
    np.testing.assert_array_equal(found.ranges, again.ranges)


@pytest.mark.parametrize("absent", ["train", "val"])
def test_no_calibration_without_photos(tiny_run: TrainedRun, absent: str) -> None:
    parts = [[] if part == absent else tiny_run.photos(part) for part in ("train", "val")]
    with pytest.raises(ExportError, match="too few photos to calibrate") as refused:
        read_calibration_photos(*parts, SPEC)
    assert ("0 training" in str(refused.value.found)) == (absent == "train")


def test_methods_are_judged_by_photos_that_were_not_trained_on(tiny_run: TrainedRun) -> None:
    unseen = list(tiny_run.photos("val"))
    found = read_calibration_photos(tiny_run.photos("train"), unseen, SPEC, judges=2)
    plain = [to_input(read_image(photo.path), SPEC).image for photo in take_evenly(unseen, 2)]
    np.testing.assert_array_equal(found.judges, np.stack(plain))


def test_every_range_method_is_tried_and_the_best_is_named(
    float_graph: Path, tiny_run: TrainedRun, tmp_path: Path
) -> None:
    photos = calibration(tiny_run, 22, 12)
    told: list[str] = []
    found = quantise(float_graph, tmp_path, photos, mean=MEAN, std=STD, report=told.append)
    assert [trial.method for trial in found.trials] == list(RANGE_METHODS)
    assert len(told) == len(RANGE_METHODS)
    assert found.best.agreement == max(trial.agreement for trial in found.trials)
    assert found.description.startswith(found.best.method.name)


def test_the_last_layer_and_both_ends_stay_float(float_graph: Path, tiny_run: TrainedRun, tmp_path: Path) -> None:
    photos = calibration(tiny_run, 12, 6)
    model = onnx.load(quantise(float_graph, tmp_path, photos, mean=MEAN, std=STD, methods=RANGE_METHODS[:1]).best.path)
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert [makers[name] for name in node.input[:2]] == ["DequantizeLinear"] * 2
    weights = {item.name: item for item in model.graph.initializer}
    classifier = next(node for node in model.graph.node if node.op_type == "Gemm")
    assert weights[classifier.input[1]].data_type == onnx.TensorProto.FLOAT


class _Residual(nn.Module):
    """A residual block with a shortcut as it is, and one with a convolution in it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = (nn.Conv2d(inputs, 8, 3, padding=1) for inputs in (3, 8, 8))
        self.shortcut = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.stem(pixels).relu()
        features = (self.first(features) + features).relu()
        features = (self.second(features) + self.shortcut(features)).relu()
        return self.head(features.mean((2, 3)))


def test_residual_additions_are_fused_with_one_convolution(tiny_run: TrainedRun, tmp_path: Path) -> None:
    """For TensorRT one branch comes from a convolution as it is, and the other rounded; the answers stay."""
    torch.manual_seed(0)
    bare, whole = tmp_path / "network.onnx", tmp_path / "float.onnx"
    export_network(_Residual(), SPEC.size, bare)
    add_bytes_input(bare, whole, mean=MEAN, std=STD, cast_first=True)
    photos = calibration(tiny_run, 12, 6)
    found = quantise(whole, tmp_path, photos, mean=MEAN, std=STD, target="tensorrt", methods=RANGE_METHODS[:1])
    graph = onnx.load(found.best.path).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    additions = [node for node in graph.node if node.op_type == "Add"]
    assert [sorted(makers[name] for name in node.input) for node in additions] == [["Conv", "DequantizeLinear"]] * 2
    assert found.best.mean_difference < 0.02


@given(scale=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_rounding_is_at_most_half_a_step_of_its_channel(scale: float, seed: int) -> None:
    weights = (np.random.default_rng(seed).normal(size=(4, 3, 3, 3)) * scale).astype(np.float32)
    steps = np.abs(weights).reshape(4, -1).max(axis=1) / 127
    error = np.abs(rounding_error(weights)).reshape(4, -1).max(axis=1)
    assert (error <= steps * 0.5001).all()


def test_bias_correction_takes_back_the_mean_shift_of_rounded_weights(
    float_graph: Path, tiny_run: TrainedRun, tmp_path: Path
) -> None:
    images = calibration(tiny_run, 24, 12).ranges
    assert correct_biases(float_graph, tmp_path / "corrected.onnx", iter([images])) == 3
    exact = _channel_means(onnx.load(float_graph), images)
    plain = _channel_means(_with_rounded_weights(float_graph), images)
    corrected = _channel_means(_with_rounded_weights(tmp_path / "corrected.onnx"), images)
    assert np.abs(corrected - exact).max() < 0.2 * np.abs(plain - exact).max()


def _with_rounded_weights(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    for item in model.graph.initializer:
        if item.name in weights:
            values = numpy_helper.to_array(item)
            item.CopyFrom(numpy_helper.from_array(values + rounding_error(values), item.name))
    return model


def _channel_means(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Mean of every channel that the first convolution gives."""
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(first.output[0], onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0].mean(axis=(0, 2, 3))


def test_the_exported_graph_gives_torchs_logits_for_any_batch(float_graph: Path, tiny_run: TrainedRun) -> None:
    photos = PhotoSet("validation", tuple(tiny_run.photos("val")))
    sizes = [run_logits(float_graph, photos.batches(SPEC, size)) for size in (1, 5, 24)]
    for logits in sizes[1:]:
        np.testing.assert_allclose(logits, sizes[0], atol=1e-4)
    assert (sizes[0].argmax(axis=1) == photos.labels(CLASSES)).all()


def test_photos_in_less_light_are_the_same_each_time(tiny_run: TrainedRun) -> None:
    photos = tuple(tiny_run.photos("val"))
    dark = PhotoSet("validation", photos, light=1 / 16)
    first, second = (np.concatenate(list(dark.batches(SPEC))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert dark.title == "validation at 1/16 light"


def test_an_unknown_class_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "wood").mkdir()
    with pytest.raises(DataError, match="unknown class folders") as caught:
        open_class_folders(tmp_path, CLASSES)
    assert caught.value.found == "wood"


def test_an_empty_folder_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        open_class_folders(tmp_path, CLASSES)


def test_logits_are_shifted_through_the_last_bias(float_graph: Path, tiny_run: TrainedRun) -> None:
    images = calibration(tiny_run, 8, 4).ranges
    before = run_logits(float_graph, iter([images]))
    shift = np.asarray([0.5, -0.25, 0.0])
    assert shift_logits(float_graph, shift)
    np.testing.assert_allclose(run_logits(float_graph, iter([images])), before + shift, atol=1e-5)


HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize("mean", [HALF, (0.3, 0.3, 0.3)], ids=["between two codes", "another mean"])
def test_bytes_go_straight_into_the_first_integer_convolution(
    tiny_run: TrainedRun, tmp_path: Path, mean: tuple[float, float, float]
) -> None:
    export_network(tiny_run.build_model(), SPEC.size, tmp_path / "network.onnx")
    add_bytes_input(tmp_path / "network.onnx", tmp_path / "float.onnx", mean=mean, std=HALF)
    photos = calibration(tiny_run, 24, 12)
    # told of uneven means, it keeps the float normalisation: what the short cut is compared with
    detour, straight = (tmp_path / name for name in ("detour", "straight"))
    logits = []
    for folder, told in ((detour, MEAN), (straight, mean)):
        folder.mkdir()
        method = RANGE_METHODS[:1]
        path = quantise(tmp_path / "float.onnx", folder, photos, mean=told, std=HALF, methods=method).best.path
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        assert ("Cast" in kinds) == (folder == detour)
        logits.append(run_logits(path, iter([photos.judges])))
    exact = run_logits(tmp_path / "float.onnx", iter([photos.judges]))
    spread = exact.std()
    assert np.abs(logits[1] - logits[0]).mean() < 0.05 * spread
    assert np.abs(logits[1] - exact).mean() < 0.05 * spread


def test_uneven_means_keep_the_float_normalisation(float_graph: Path) -> None:
    before = float_graph.read_bytes()
    assert not feed_bytes(float_graph, mean=MEAN, std=STD)
    assert not feed_bytes(float_graph, mean=HALF, std=HALF)  # not quantised: not of the right form
    assert float_graph.read_bytes() == before
