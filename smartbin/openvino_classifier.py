"""The OpenVINO classifier: the same ONNX file on the CPU, for x86 machines that have it installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smartbin.bundle import ENERGY_NAME, INPUT_NAME, PROBABILITIES_NAME, Bundle
from smartbin.classifier import ClassifierOutput, Shaped, check_batch
from smartbin.errors import BundleError, InferenceError

if TYPE_CHECKING:
    import openvino

RUNTIME = "openvino-cpu"


class OpenVinoClassifier(Shaped):
    """Runs a bundle's ONNX file with OpenVINO on the CPU. Not thread-safe."""

    def __init__(self, request: openvino.InferRequest, classes: tuple[str, ...], size: int) -> None:
        super().__init__(classes, size)
        self._request: openvino.InferRequest | None = request

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int | None = None) -> OpenVinoClassifier:
        """Load and compile the model of a bundle; takes about a second.

        `threads` bounds the CPU threads of one inference (default: OpenVINO's own choice). `InferenceError` if OpenVINO
        is not installed, `BundleError` if the file cannot be loaded or is not what the manifest says.
        """
        manifest = bundle.manifest
        model = _compile(bundle.model_path, threads)
        _check_signature(model, bundle.model_path, manifest.preprocess.size, len(manifest.classes))
        return cls(model.create_infer_request(), manifest.classes, manifest.preprocess.size)

    @property
    def runtime(self) -> str:
        """Always `openvino-cpu`."""
        return RUNTIME

    def classify(self, batch: NDArray[np.uint8]) -> ClassifierOutput:
        """Classify uint8 [N, S, S, 3] RGB. Blocks. `InferenceError` if the batch does not fit or the runtime fails."""
        check_batch(batch, self._size)
        if self._request is None:
            raise InferenceError("the classifier is closed", fix="open it again")
        try:
            found = self._request.infer({INPUT_NAME: batch})
        except Exception as error:  # OpenVINO's errors have no common base
            raise InferenceError("OpenVINO failed on an input", where=RUNTIME, found=error) from error
        return ClassifierOutput(
            np.asarray(found[PROBABILITIES_NAME], np.float32), np.asarray(found[ENERGY_NAME], np.float32)
        )

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._request = None


def _compile(model: Path, threads: int | None) -> openvino.CompiledModel:
    try:
        import openvino
    except ImportError as error:
        raise InferenceError(
            "OpenVINO is not installed",
            found=error,
            expected="the package openvino",
            fix="pip install 'smartbin[openvino]', or choose another runtime",
        ) from error
    # By itself OpenVINO computes in bfloat16 where the processor can: the precision is the graph's, not the runtime's.
    options: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        return openvino.Core().compile_model(str(model), "CPU", options)
    except Exception as error:  # OpenVINO's errors have no common base
        raise BundleError(
            "OpenVINO cannot load the model",
            where=model,
            found=error,
            fix=f"export it again, or update OpenVINO (this is {openvino.__version__})",
        ) from error


def _check_signature(compiled: openvino.CompiledModel, model: Path, size: int, classes: int) -> None:
    found = {
        port.any_name: f"{port.element_type.get_type_name()} {port.partial_shape}"
        for port in [*compiled.inputs, *compiled.outputs]
    }
    expected = {
        INPUT_NAME: f"u8 [?,{size},{size},3]",
        PROBABILITIES_NAME: f"f32 [?,{classes}]",
        ENERGY_NAME: "f32 [?]",
    }
    if found != expected:
        raise BundleError(
            "the model does not fit its manifest",
            where=model,
            found=found,
            expected=expected,
            fix="export the bundle again",
        )
