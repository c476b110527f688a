"""The ONNX Runtime classifier: on a CUDA GPU where ONNX Runtime has one, else on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smartbin.bundle import ENERGY_NAME, INPUT_NAME, PROBABILITIES_NAME, Bundle
from smartbin.classifier import ClassifierOutput, Shaped, check_batch
from smartbin.errors import BundleError, InferenceError

if TYPE_CHECKING:
    import onnxruntime as ort

OrtDevice: TypeAlias = Literal["auto", "cpu", "cuda"]

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_ERRORS_ONLY = 3
_CPUINFO = Path("/proc/cpuinfo")


class OrtClassifier(Shaped):
    """Runs a bundle's ONNX file. Not thread-safe."""

    def __init__(self, session: ort.InferenceSession, classes: tuple[str, ...], size: int, runtime: str) -> None:
        super().__init__(classes, size)
        self._session: ort.InferenceSession | None = session
        self._runtime = runtime

    @classmethod
    def open(cls, bundle: Bundle, *, device: OrtDevice = "auto", threads: int | None = None) -> OrtClassifier:
        """Load the model of a bundle.

        `device="auto"` takes CUDA when ONNX Runtime offers it and it starts, else the CPU; `"cuda"` makes its absence
        an error. `threads` bounds the CPU threads of one inference (default: one a physical core). `BundleError` if
        the file is not what the manifest says, `InferenceError` if the wanted device is not there.
        """
        manifest = bundle.manifest
        session = _start_session(bundle.model_path, device, threads)
        _check_signature(session, bundle.model_path, manifest.preprocess.size, len(manifest.classes))
        runtime = "onnxruntime-cuda" if _CUDA in session.get_providers() else "onnxruntime-cpu"
        return cls(session, manifest.classes, manifest.preprocess.size, runtime)

    @property
    def runtime(self) -> str:
        """`onnxruntime-cpu` or `onnxruntime-cuda`."""
        return self._runtime

    def classify(self, batch: NDArray[np.uint8]) -> ClassifierOutput:
        """Classify uint8 [N, S, S, 3] RGB. Blocks. `InferenceError` if the batch does not fit or the runtime fails."""
        check_batch(batch, self._size)
        if self._session is None:
            raise InferenceError("the classifier is closed", fix="open it again")
        try:
            probabilities, energy = self._session.run([PROBABILITIES_NAME, ENERGY_NAME], {INPUT_NAME: batch})
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise InferenceError("ONNX Runtime failed on an input", where=self._runtime, found=error) from error
        return ClassifierOutput(np.asarray(probabilities, np.float32), np.asarray(energy, np.float32))

    def close(self) -> None:
        """Free the session. May be called twice."""
        self._session = None


def cuda_available() -> bool:
    """Whether the installed ONNX Runtime was built with CUDA."""
    import onnxruntime as ort

    return _CUDA in ort.get_available_providers()


def ask_for_exact_int8(options: ort.SessionOptions, cpuinfo: Path = _CPUINFO) -> None:
    """Have a session add up int8 products exactly on this processor.

    Without VNNI (most x86 before 2019, many clouds) ONNX Runtime's fast kernels add pairs of products in 16 bits, which
    overflow: classes change. Where there is VNNI the setting would cost two thirds of the speed, for the same answers.
    """
    if not _has_vnni(cpuinfo):
        options.add_session_config_entry("session.x64quantprecision", "1")


def _has_vnni(cpuinfo: Path) -> bool:
    """Whether an x86 processor has it, by what Linux says; False elsewhere."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags)


def _start_session(model: Path, device: OrtDevice, threads: int | None) -> ort.InferenceSession:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # A daemon waits most of its time: spinning threads would burn a core between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    ask_for_exact_int8(options)
    if threads is not None:
        options.intra_op_num_threads = threads
    if device == "cuda" and not cuda_available():
        raise _no_cuda()
    providers = [_CPU] if device == "cpu" or not cuda_available() else [_CUDA, _CPU]
    try:
        session = ort.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise BundleError(
            "ONNX Runtime cannot load the model",
            where=model,
            found=error,
            fix=f"export it again, or update ONNX Runtime (this is {ort.__version__})",
        ) from error
    if device == "cuda" and _CUDA not in session.get_providers():
        raise _no_cuda()  # built with it, but the GPU or its driver did not start
    return session


def _no_cuda() -> InferenceError:
    import onnxruntime as ort

    return InferenceError(
        "ONNX Runtime has no CUDA here",
        found=", ".join(ort.get_available_providers()),
        expected=_CUDA,
        fix="install onnxruntime-gpu (uninstall onnxruntime first), or choose another runtime",
    )


def _check_signature(session: ort.InferenceSession, model: Path, size: int, classes: int) -> None:
    inputs = {item.name: (item.type, list(item.shape)[1:]) for item in session.get_inputs()}
    outputs = {item.name: (item.type, list(item.shape)[1:]) for item in session.get_outputs()}
    expected_inputs = {INPUT_NAME: ("tensor(uint8)", [size, size, 3])}
    expected_outputs = {PROBABILITIES_NAME: ("tensor(float)", [classes]), ENERGY_NAME: ("tensor(float)", [])}
    if inputs != expected_inputs or outputs != expected_outputs:
        raise BundleError(
            "the model does not fit its manifest",
            where=model,
            found=f"{inputs} -> {outputs}",
            expected=f"{expected_inputs} -> {expected_outputs}",
            fix="export the bundle again",
        )
