"""The real entry point on a tiny run: what it writes, says and refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from export.card import weights_source
from export.half_precision import to_half
from export.run import PRECISIONS, main
from smartbin.bundle import read_bundle
from smartbin.errors import ExportError
from smartbin.golden import self_test
from smartbin.images import list_images, read_image
from smartbin.ort_classifier import OrtClassifier
from smartbin.preprocess import stack_inputs, to_input
from tests.tiny_run import CLASSES, PHOTOS, draw_coloured_photos

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def exported(tiny_run_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All precisions, with another place measured as well."""
    folder = tmp_path_factory.mktemp("exported")
    draw_coloured_photos(folder / "elsewhere", {"val": 3}, seed=5)
    arguments = [str(tiny_run_path), "--precision", "fp32", "fp16", "int8", "--out", str(folder / "bundles")]
    assert main([*arguments, "--measure", str(folder / "elsewhere"), "--name", "tiny", "--version", "1.2"]) == 0
    return folder / "bundles"


@pytest.fixture(scope="module")
def for_tensorrt(tiny_run_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tensorrt")
    assert main([str(tiny_run_path), "--precision", *PRECISIONS, "--target", "tensorrt", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_bundle_reads_back_and_its_manifest_says_what_was_measured(exported: Path, precision: str) -> None:
    manifest = read_bundle(exported / precision).manifest
    assert (manifest.name, manifest.version, manifest.precision) == ("tiny", "1.2", precision)
    assert manifest.classes == CLASSES
    assert manifest.architecture == "tiny"
    assert (manifest.calibration is None) == (precision != "int8")
    metrics = {(item.split, item.of): item for item in manifest.metrics}
    assert set(metrics) == {
        ("validation", "checkpoint"),
        ("validation", "exported"),
        ("validation at 1/4 light", "exported"),
        ("validation at 1/16 light", "exported"),
        ("elsewhere", "exported"),
    }
    assert metrics["validation", "exported"].photos == 3 * PHOTOS["val"]
    assert metrics["validation", "exported"].accuracy == 1.0
    assert metrics["elsewhere", "exported"].photos == 9
    assert manifest.parity.top1_agreement == 1.0
    assert manifest.training.data_fingerprint == "0" * 64


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_bundle_classifies_photos_and_keeps_the_ninety_five_percent(
    exported: Path, tiny_run_path: Path, precision: str
) -> None:
    bundle = read_bundle(exported / precision)
    classifier = OrtClassifier.open(bundle, device="cpu", threads=1)
    photos = [path for path in list_images(tiny_run_path.parent / "photos") if "-val" in path.name]
    output = classifier.classify(
        stack_inputs([to_input(read_image(path), bundle.manifest.preprocess) for path in photos])
    )
    labels = [CLASSES.index(path.parent.name) for path in photos]
    assert (output.probabilities.argmax(axis=1) == labels).all()
    np.testing.assert_allclose(output.probabilities.sum(axis=1), 1, atol=1e-5)
    thresholds = bundle.manifest.thresholds
    kept = (output.probabilities.max(axis=1) >= thresholds.min_confidence) & (output.energy <= thresholds.max_energy)
    assert kept.mean() >= 0.9


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_graph_is_one_clean_file_with_bytes_in(exported: Path, precision: str) -> None:
    bundle = read_bundle(exported / precision)
    model = onnx.load(bundle.model_path)
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert [item.domain for item in model.opset_import] == [""]
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert ("QuantizeLinear" in kinds) == (precision == "int8")
    assert {item.key: item.value for item in model.metadata_props}["classes"] == ",".join(CLASSES)
    text = bundle.model_path.read_bytes()
    assert str(REPOSITORY).encode() not in text
    assert b"site-packages" not in text


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bundle_for_tensorrt_holds_to_what_tensorrt_takes(for_tensorrt: Path, precision: str) -> None:
    """Bytes that a cast reads; of quantisation signed bytes alone, no zero points, and biases as they are."""
    bundle = read_bundle(for_tensorrt / precision)
    assert bundle.manifest.target == "tensorrt"
    assert "for TensorRT" in (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    graph = onnx.load(bundle.model_path).graph
    assert [node.op_type for node in graph.node if "image" in node.input] == ["Cast"]
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    rounding = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert bool(rounding) == (precision == "int8")
    for node in rounding:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    for node in graph.node:
        if node.op_type == "Conv" and precision == "int8":
            pixels, weights = (makers[makers[name].input[0]] for name in node.input[:2])
            assert (pixels.op_type, weights.op_type) == ("QuantizeLinear", "QuantizeLinear")
            assert constants[weights.input[0]].dtype == np.float32
            assert constants[node.input[2]].dtype == np.float32
            assert next(user.op_type for user in graph.node if node.output[0] in user.input) == "Clip"


def test_half_precision_is_the_network_s_and_not_its_ends(exported: Path) -> None:
    bundle = read_bundle(exported / "fp16")
    model = onnx.shape_inference.infer_shapes(onnx.load(bundle.model_path))
    kinds = {item.name: item.type.tensor_type.elem_type for item in [*model.graph.value_info, *model.graph.output]}
    nodes = {node.name: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert kinds[node.output[0]] == onnx.TensorProto.FLOAT16, node.name
    for name in ("bytes_scaled", "head_cooled", "head_softmax", "head_total", "head_energy"):
        assert kinds[nodes[name].output[0]] == onnx.TensorProto.FLOAT, name
    weights = {item.name: item.data_type for item in model.graph.initializer}
    assert {weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_device_can_test_itself_with_the_bundle(exported: Path, precision: str) -> None:
    bundle = read_bundle(exported / precision)
    classifier = OrtClassifier.open(bundle, device="cpu", threads=1)
    found = self_test(bundle, classifier)
    classifier.close()
    assert found is not None
    assert (found.photos, found.same_answers) == (8, 8)
    assert found.largest_difference < 1e-6
    assert "`golden.npz` holds 8 validation photos" in (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_weight_beyond_half_precision_is_refused(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.full((1, 1), 1e5, np.float32), "large")
    graph = onnx.helper.make_graph([], "graph", [], [], [weight])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "graph.onnx")
    with pytest.raises(ExportError, match="does not fit half precision") as refused:
        to_half(tmp_path / "graph.onnx", tmp_path / "half.onnx")
    assert (refused.value.where, refused.value.found) == ("large", "100000")
    assert not (tmp_path / "half.onnx").exists()


def test_int8_convolutions_are_fused_by_the_runtime(exported: Path, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(str(read_bundle(exported / "int8").model_path), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 3
    assert "Conv" not in kinds
    assert "Clip" not in kinds


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_card_says_what_it_is_made_of_and_its_figures(exported: Path, precision: str) -> None:
    card = (exported / precision / "MODEL_CARD.md").read_text(encoding="utf-8")
    for part in (
        "# tiny 1.2",
        "TrashNet",
        "MIT",
        "none: trained from random weights",
        "elsewhere",
        "at 1/16 light",
        "Limits",
    ):
        assert part in card
    assert ("int8 calibration" in card) == (precision == "int8")
    assert "nan" not in card


def test_an_existing_bundle_is_replaced_only_with_force(
    tiny_run_path: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    shutil.copytree(exported / "fp32", out)
    arguments = [str(tiny_run_path), "--precision", "fp32", "--out", str(out), "--limit", "6", "--golden", "0"]
    assert main(arguments) == 1
    assert "--force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert f"smartbin run --bundle {out}" in capsys.readouterr().out
    assert read_bundle(out).manifest.name == "tiny-garbage"


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "forced"])
def test_a_folder_that_is_no_bundle_is_never_replaced(
    tiny_run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], force: list[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert main([str(tiny_run_path), "--precision", "fp32", "--out", str(tmp_path), *force]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_photos_that_moved_are_found_with_data(tiny_run_path: Path, tmp_path: Path) -> None:
    away = shutil.copytree(tiny_run_path, tmp_path / "run")
    split = away / "split.json"
    photos = tiny_run_path.parent / "photos"
    split.write_text(split.read_text(encoding="utf-8").replace(str(photos), "/nowhere"), encoding="utf-8")
    arguments = [str(away), "--precision", "fp32", "--out", str(tmp_path / "bundle"), "--limit", "6"]
    assert main(arguments) == 1
    assert main([*arguments, "--data", str(photos)]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["{missing}", "--out", "{out}"], "no run directory", id="no run"),
        pytest.param(
            ["{run}", "--out", "{out}", "--measure", "{missing}"], "no photos to measure", id="nothing to measure"
        ),
        pytest.param(["{run}", "--out", "{file}"], "cannot write a bundle here", id="out is a file"),
    ],
)
def test_wrong_arguments_are_named(
    tiny_run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    places = {"run": tiny_run_path, "missing": tmp_path / "missing", "out": tmp_path / "out", "file": tmp_path / "file"}
    assert main([text.format(**places) for text in arguments]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_it_starts_as_a_file_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "export" / "run.py"), "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--precision" in done.stdout


def test_the_licence_is_that_of_the_weights_at_the_beginning() -> None:
    first = weights_source("tf_efficientnet_lite0_imagenet.safetensors")
    again = weights_source("soup.safetensors, from a.safetensors, from tf_efficientnet_lite0_imagenet.safetensors")
    assert again.licence == first.licence == "Apache-2.0"
    assert again.what == f"`soup.safetensors`, a run of ours, from `a.safetensors`, a run of ours, from {first.what}"
    assert "check before" in weights_source("soup.safetensors, from strange.safetensors").licence
