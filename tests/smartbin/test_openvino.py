"""OpenVINO as a runtime: the answers of ONNX Runtime, its errors, and what is said where it is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from device.scene import builtin_scene_path, read_story
from smartbin.bundle import Bundle, builtin_bundle_path, read_bundle, write_bundle
from smartbin.errors import BundleError, InferenceError
from smartbin.golden import TOLERANCES
from smartbin.images import read_image
from smartbin.openvino_classifier import OpenVinoClassifier
from smartbin.preprocess import stack_inputs, to_input
from smartbin.runtime import open_classifier

pytest.importorskip("onnx")  # the tiny bundle is made with it
from tests.tiny_bundle import TINY_CLASSES, TINY_SIZE, tiny_draft, tiny_model, write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def _installed() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")


def scene_inputs(bundle: Bundle) -> np.ndarray:
    folder = builtin_scene_path()
    frames = [told for told in read_story(folder).frames if told.phase == "staying"]
    return stack_inputs([to_input(read_image(folder / told.file), bundle.manifest.preprocess) for told in frames])


def best(probabilities: np.ndarray, classes: Sequence[str]) -> list[str]:
    return [classes[index] for index in probabilities.argmax(axis=1)]


@pytest.mark.usefixtures("_installed")
def test_the_built_in_int8_bundle_gets_the_answers_of_onnx_runtime() -> None:
    bundle = read_bundle(builtin_bundle_path())
    images = scene_inputs(bundle)
    ours, theirs = (open_classifier(bundle, name, threads=1) for name in ("openvino-cpu", "onnxruntime-cpu"))
    assert (ours.runtime, ours.classes, ours.size) == ("openvino-cpu", theirs.classes, theirs.size)
    found = np.concatenate([ours.classify(image[None]).probabilities for image in images])
    expected = np.concatenate([theirs.classify(image[None]).probabilities for image in images])
    assert np.abs(found - expected).max() <= TOLERANCES[bundle.manifest.precision]
    same = [one == other for one, other in zip(best(found, ours.classes), best(expected, ours.classes), strict=True)]
    assert np.mean(same) >= 0.95


@pytest.mark.usefixtures("_installed")
def test_one_and_many_alike_until_it_is_closed(bundle: Bundle) -> None:
    classifier = OpenVinoClassifier.open(bundle, threads=1)
    batch = np.zeros((3, TINY_SIZE, TINY_SIZE, 3), np.uint8)
    for channel in range(3):
        batch[channel, ..., channel] = 100
    together = classifier.classify(batch)
    assert best(together.probabilities, TINY_CLASSES) == list(TINY_CLASSES)
    assert together.energy == pytest.approx([-np.log(np.exp(10) + 2)] * 3, rel=1e-5)
    alone = np.concatenate([classifier.classify(image[None]).probabilities for image in batch])
    assert np.allclose(alone, together.probabilities)  # the earlier answer is still what it was
    with pytest.raises(InferenceError, match="does not fit the model"):
        classifier.classify(batch[:, :8])
    classifier.close()
    classifier.close()
    with pytest.raises(InferenceError, match="closed"):
        classifier.classify(batch)


@pytest.mark.usefixtures("_installed")
def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    wrong = write_tiny_bundle(tmp_path / "wrong", model=tiny_model(size=64))
    with pytest.raises(BundleError, match="does not fit its manifest"):
        open_classifier(wrong, "openvino-cpu")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    junk = write_bundle(tmp_path / "junk", model=tmp_path / "junk.onnx", card="", draft=tiny_draft())
    with pytest.raises(BundleError, match="OpenVINO cannot load"):
        open_classifier(junk, "openvino-cpu")


def test_it_is_an_error_where_it_is_missing_and_never_chosen_by_itself(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InferenceError, match="not installed") as caught:
        open_classifier(bundle, "openvino-cpu")
    assert "pip install" in str(caught.value)
    assert open_classifier(bundle).runtime != "openvino-cpu"
