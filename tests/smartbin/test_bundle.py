from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from smartbin.bundle import Bundle, read_bundle, write_bundle
from smartbin.errors import BundleError, InferenceError
from smartbin.ort_classifier import OrtClassifier, cuda_available
from smartbin.prediction import predictions
from smartbin.runtime import open_classifier
from tests.tiny_bundle import TINY_CLASSES, TINY_SIZE, tiny_draft, tiny_model, write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_tiny_bundle(tmp_path / "tiny")


def one_colour(channel: int, count: int = 1) -> np.ndarray:
    batch = np.zeros((count, TINY_SIZE, TINY_SIZE, 3), np.uint8)
    batch[..., channel] = 100
    return batch


def edit_manifest(bundle: Bundle, change: Callable[[dict[str, object]], object]) -> None:
    file = bundle.path / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def test_what_was_written_is_read(bundle: Bundle) -> None:
    again = read_bundle(bundle.path)
    assert again == bundle
    assert again.manifest.classes == TINY_CLASSES
    assert sorted(path.name for path in bundle.path.iterdir()) == ["MODEL_CARD.md", "manifest.json", "model.onnx"]
    assert list(bundle.path.parent.iterdir()) == [bundle.path]


def test_writing_again_replaces_the_bundle_whole(bundle: Bundle) -> None:
    write_tiny_bundle(bundle.path, version="2")
    assert read_bundle(bundle.path).manifest.version == "2"


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, bundle: Bundle) -> None:
    other = tmp_path / "photos"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match="no model bundle"):
        write_bundle(other, model=bundle.model_path, card="", draft=tiny_draft())
    assert [path.name for path in other.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(schema_version=2), "schema_version = 2"),
        (lambda m: m.update(surprise=1), "surprise = 1"),
        (lambda m: m.update(classes=["red", "red", "blue"]), "twice"),
        (lambda m: m.pop("thresholds"), "thresholds"),
        (lambda m: m["files"].pop("model.onnx"), "no hash for model.onnx"),
        (lambda m: m["files"].update({"../passwd": "0"}), "leaves the bundle"),
        (lambda m: m["files"].update({"extra.bin": "0"}), "no such file"),
    ],
)
def test_manifests_that_are_refused(bundle: Bundle, change: Callable[[dict[str, object]], object], says: str) -> None:
    edit_manifest(bundle, change)
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle.path)
    assert says in str(caught.value)
    assert "what to do" in str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx", "MODEL_CARD.md"])
def test_a_changed_file_is_noticed(bundle: Bundle, name: str) -> None:
    file = bundle.path / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match="damaged or was changed"):
        read_bundle(bundle.path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"{", b"[]"], ids=["absent", "not text", "not JSON", "a list"])
def test_manifest_that_is_no_manifest(bundle: Bundle, content: bytes | None) -> None:
    file = bundle.path / "manifest.json"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(BundleError, match="bundle"):
        read_bundle(bundle.path)


@pytest.mark.parametrize(
    "changes", [{"name": "../evil"}, {"temperature": 0.0}, {"classes": ("one",)}, {"precision": "fp8"}]
)
def test_drafts_that_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        tiny_draft(**changes)


def test_classifies_one_and_many_alike(bundle: Bundle) -> None:
    classifier = OrtClassifier.open(bundle, device="cpu", threads=1)
    assert (classifier.classes, classifier.size, classifier.runtime) == (TINY_CLASSES, TINY_SIZE, "onnxruntime-cpu")
    batch = np.concatenate([one_colour(channel) for channel in (0, 1, 2, 1)])
    together = predictions(classifier.classify(batch), classifier.classes)
    assert [item.label for item in together] == ["red", "green", "blue", "green"]
    alone = [predictions(classifier.classify(row[None]), classifier.classes)[0] for row in batch]
    assert [item.probabilities for item in alone] == [pytest.approx(item.probabilities) for item in together]
    # logits are (10, 0, 0): the energy is -log(exp(10) + 2)
    assert alone[0].energy == pytest.approx(-np.log(np.exp(10) + 2), rel=1e-5)


def test_input_that_does_not_fit_and_a_closed_classifier_are_errors(bundle: Bundle) -> None:
    classifier = open_classifier(bundle, "onnxruntime-cpu")
    with pytest.raises(InferenceError, match="does not fit the model"):
        classifier.classify(np.zeros((1, 8, 8, 3), np.uint8))
    classifier.close()
    classifier.close()
    with pytest.raises(InferenceError, match="closed"):
        classifier.classify(one_colour(0))


def test_model_of_another_size_is_refused(tmp_path: Path) -> None:
    wrong = write_tiny_bundle(tmp_path / "wrong", model=tiny_model(size=64))
    with pytest.raises(BundleError, match="does not fit its manifest"):
        OrtClassifier.open(wrong, device="cpu")


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    junk = write_bundle(tmp_path / "junk", model=tmp_path / "junk.onnx", card="", draft=tiny_draft())
    with pytest.raises(BundleError, match="cannot load"):
        OrtClassifier.open(junk, device="cpu")


def test_a_named_runtime_that_is_missing_is_an_error(bundle: Bundle) -> None:
    if cuda_available():
        pytest.skip("ONNX Runtime has CUDA here")
    with pytest.raises(InferenceError, match="no CUDA here"):
        open_classifier(bundle, "onnxruntime-cuda")
