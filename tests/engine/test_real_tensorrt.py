"""The real TensorRT on a real GPU, end to end: export, build, cache, classify, device self-test. Skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smartbin.bundle import read_bundle
from smartbin.engine.gpu import CudaGpu
from smartbin.engine.opening import build_here, open_engine
from smartbin.engine.options import EngineSettings
from smartbin.engine.trt import load_tensorrt
from smartbin.errors import InferenceError
from smartbin.golden import TOLERANCES, read_golden, self_test
from smartbin.ort_classifier import OrtClassifier

pytest.importorskip("torch", reason="the export needs torch")

from export.run import main
from tests.tiny_run import tiny_architecture, write_tiny_run

pytestmark = pytest.mark.tensorrt
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle a precision, exported for TensorRT."""
    try:
        load_tensorrt()
        CudaGpu.open().close()
    except InferenceError as error:
        pytest.skip(f"{error.what}: {error.found}")
    folder = tmp_path_factory.mktemp("tensorrt")
    with tiny_architecture():
        run = write_tiny_run(folder)
        flags = ["--precision", *PRECISIONS, "--target", "tensorrt", "--out", str(folder / "bundles")]
        assert main([str(run), *flags]) == 0
    return folder / "bundles"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("graph", [True, False], ids=["CUDA graph", "streams"])
def test_engine_answers_as_onnx_runtime_does(bundles: Path, tmp_path: Path, precision: str, graph: bool) -> None:
    bundle = read_bundle(bundles / precision)
    settings = EngineSettings(folder=tmp_path / "engines", max_batch=4, cuda_graph=graph)
    first, built = build_here(bundle, settings, lambda phase, done, steps: None)
    second, again = build_here(bundle, settings, lambda phase, done, steps: None)
    assert (built, again, second.path) == (True, False, first.path)
    golden = read_golden(bundle)
    assert golden is not None
    engine, reference = open_engine(bundle, settings), OrtClassifier.open(bundle, device="cpu")
    try:
        assert engine.runtime == "tensorrt"
        assert self_test(bundle, engine) is not None
        for count in (1, 3, 4, 1, len(golden.images)):  # the last is more than the engine takes at once
            found, expected = (classifier.classify(golden.images[:count]) for classifier in (engine, reference))
            difference = np.abs(found.probabilities - expected.probabilities).max()
            assert difference <= TOLERANCES[precision]
            np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-3)
            assert found.energy.shape == (count,)
    finally:
        engine.close()
        reference.close()
