"""The distance from the training photos inside the exported graph."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from export.run import main
from export.unfamiliar import add_distance
from smartbin.bundle import read_bundle
from smartbin.calibration import auroc, energy
from smartbin.errors import ExportError
from smartbin.images import read_image
from smartbin.ort_classifier import OrtClassifier
from smartbin.preprocess import stack_inputs, to_input
from tests.tiny_run import CLASSES, MEAN, SPEC, STD
from train.checkpoint import load_run
from train.metrics import Outputs
from train.networks.feature_distance import USUAL_SHARE, FeatureSpace, collected_features, fit_feature_space
from train.report.outputs import RunOutputs, Scored, load_outputs, save_outputs


def seen(run: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features of images uint8 [N, S, S, 3] in torch."""
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    pixels = (planes - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    network = load_run(run).build_model()
    with collected_features(network) as features, torch.inference_mode():
        logits = network(pixels).numpy()
    return logits, np.concatenate(features)


def inputs_of(run: Path, part: str) -> np.ndarray:
    photos = load_run(run).photos("train" if part == "train" else "val")
    return stack_inputs([to_input(read_image(photo.path), SPEC) for photo in photos])


def weight_of(run: Path, share: float) -> float:
    """Of the distance: that with which it spreads `share` times as far over the validation photos as the energy."""
    val = load_outputs(run).val
    assert val.distances is not None
    return share * float(energy(val.outputs.logits).std() / val.distances.std())


@pytest.fixture
def run(tiny_run_path: Path, tmp_path: Path) -> Path:
    """The tiny run, with the outputs that training would have kept."""
    path = Path(shutil.copytree(tiny_run_path, tmp_path / "run"))
    space = fit_feature_space(seen(path, inputs_of(path, "train"))[1], directions=6)
    logits, features = seen(path, inputs_of(path, "val"))
    labels = np.asarray([CLASSES.index(photo.label) for photo in load_run(path).photos("val")])
    save_outputs(path, RunOutputs(Scored(Outputs(logits, labels), space.distances(features)), space=space))
    return path


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("int8", 1.0)])
def test_energy_holds_the_distance(run: Path, tmp_path: Path, precision: str, tolerance: float) -> None:
    """Noise is compared in float32 only: it lies beyond the ranges that int8 was calibrated for."""
    out = tmp_path / "bundle"
    flags = ["--precision", precision, "--out", str(out), "--unfamiliar", "2"]
    assert main([str(run), *flags]) == 0
    bundle = read_bundle(out)
    classifier = OrtClassifier.open(bundle, device="cpu", threads=1)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, SPEC.size, SPEC.size, 3), np.uint8)
    inside = inputs_of(run, "val")
    space = load_outputs(run).space
    assert space is not None
    weight = weight_of(run, 2)
    shares = []
    for images in (inside, noise) if precision == "fp32" else (inside,):
        output = classifier.classify(images)
        logits, features = seen(run, images)
        np.testing.assert_allclose(output.energy, energy(logits) + weight * space.distances(features), atol=tolerance)
        shares.append(output.energy - energy(logits))
    if precision == "fp32":
        assert auroc(*shares) > 0.95
    assert (classifier.classify(inside).energy <= bundle.manifest.thresholds.max_energy).mean() >= 0.9
    assert "distance from the training photos" in (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    notes = {item.key: item.value for item in onnx.load(bundle.model_path).metadata_props}
    assert notes["energy"] == f"-logsumexp(logits) + {weight:g} x feature distance"


def test_the_distance_is_there_unless_it_is_switched_off(run: Path, tmp_path: Path) -> None:
    assert main([str(run), "--precision", "fp32", "--out", str(tmp_path / "usual")]) == 0
    notes = {item.key: item.value for item in onnx.load(tmp_path / "usual" / "model.onnx").metadata_props}
    assert notes["energy"] == f"-logsumexp(logits) + {weight_of(run, USUAL_SHARE):g} x feature distance"
    assert main([str(run), "--precision", "fp32", "--out", str(tmp_path / "bundle"), "--unfamiliar", "0"]) == 0
    bundle = read_bundle(tmp_path / "bundle")
    inside = inputs_of(run, "val")
    output = OrtClassifier.open(bundle, device="cpu", threads=1).classify(inside)
    np.testing.assert_allclose(output.energy, energy(seen(run, inside)[0]), atol=1e-3)
    assert "distance from the training" not in (tmp_path / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_run_that_kept_no_features_is_refused(
    tiny_run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert main([str(tiny_run_path), "--precision", "fp32", "--out", str(out), "--unfamiliar", "5"]) == 1
    assert "no feature space" in capsys.readouterr().err
    assert not out.exists()
    assert main([str(tiny_run_path), "--precision", "fp32", "--out", str(out)]) == 0
    assert "energy: of the logits alone, since this run has no feature space" in capsys.readouterr().err


@pytest.mark.parametrize("weight", ["-1", "inf", "nan", "much"])
def test_wrong_weight_is_refused(tiny_run_path: Path, tmp_path: Path, weight: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tiny_run_path), "--out", str(tmp_path / "bundle"), f"--unfamiliar={weight}"])
    assert stop.value.code == 2


@pytest.mark.parametrize(("kind", "output", "says"), [("Relu", "logits", "features"), ("Relu", "other", "no logits")])
def test_graph_without_a_linear_end_is_refused(tmp_path: Path, kind: str, output: str, says: str) -> None:
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"], [output])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 3])],
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    space = FeatureSpace(np.zeros(3, np.float32), np.eye(3, 1, dtype=np.float32))
    with pytest.raises(ExportError, match=says):
        add_distance(tmp_path / "m.onnx", tmp_path / "n.onnx", space, 1.0)
    assert not (tmp_path / "n.onnx").exists()
