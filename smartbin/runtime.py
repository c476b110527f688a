"""Chooses what runs a bundle's model: TensorRT, then ONNX Runtime with CUDA, then ONNX Runtime on the CPU.

OpenVINO runs it only where it is named: how it compares differs from processor to processor, and a bin that changes its
runtime because a package was installed would surprise its operator.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from smartbin.bundle import Bundle
from smartbin.classifier import Classifier
from smartbin.engine.options import EngineSettings
from smartbin.errors import InferenceError
from smartbin.openvino_classifier import OpenVinoClassifier
from smartbin.ort_classifier import OrtClassifier, OrtDevice, cuda_available

RuntimeName: TypeAlias = Literal["auto", "tensorrt", "onnxruntime-cuda", "onnxruntime-cpu", "openvino-cpu"]

_DEVICES: dict[RuntimeName, OrtDevice] = {"auto": "auto", "onnxruntime-cuda": "cuda", "onnxruntime-cpu": "cpu"}
_GPU_DEVICES = tuple(Path("/dev", name) for name in ("nvidia0", "nvhost-gpu", "nvgpu"))
_log = logging.getLogger(__name__)


def open_classifier(
    bundle: Bundle, runtime: RuntimeName = "auto", threads: int | None = None, engine: EngineSettings | None = None
) -> Classifier:
    """Open a bundle with the best runtime there is (`auto`: TensorRT, CUDA, CPU) or with the one named.

    A named runtime that is missing, or whose engine is, is an error (`InferenceError`), never silently another one.
    `auto` says in the log, and by `passed_over` of what it opened, why what an NVIDIA GPU could run faster is not used.
    """
    passed_over: list[str] = []
    classifier: Classifier | None
    if runtime == "openvino-cpu":
        classifier = OpenVinoClassifier.open(bundle, threads=threads)
    else:
        classifier = _open_tensorrt(bundle, runtime, engine or EngineSettings(), passed_over)
    if classifier is None:
        classifier = OrtClassifier.open(bundle, device=_DEVICES[runtime], threads=threads)
        if runtime == "auto" and classifier.runtime == "onnxruntime-cpu":
            passed_over += _why_no_cuda()
    classifier.passed_over = tuple(passed_over)
    for reason in passed_over:
        _log.warning("%s", reason)
    _log.info("%s %s runs on %s", bundle.manifest.name, bundle.manifest.version, classifier.runtime)
    return classifier


def _open_tensorrt(
    bundle: Bundle, runtime: RuntimeName, settings: EngineSettings, passed_over: list[str]
) -> Classifier | None:
    """None where another runtime is wanted, or does instead, which `passed_over` then tells."""
    wanted = runtime == "tensorrt"
    if not wanted and runtime != "auto":
        return None
    if not wanted and importlib.util.find_spec("tensorrt") is None:
        if gpu_here():
            passed_over.append("TensorRT is not used: it is not installed")
        return None
    from smartbin.engine.opening import open_engine  # what a start without TensorRT does not need

    try:
        return open_engine(bundle, settings)
    except InferenceError as error:
        if wanted:
            raise
        reason = "; ".join(line.strip() for line in str(error).splitlines())
        passed_over.append(f"TensorRT is not used: {reason}")
        return None


def _why_no_cuda() -> list[str]:
    """Nothing where there is no GPU to miss."""
    if cuda_available():
        return ["ONNX Runtime does not use CUDA, which it was built with: the GPU or its driver did not start"]
    return ["ONNX Runtime does not use CUDA: onnxruntime-gpu is not installed"] if gpu_here() else []


def gpu_here(devices: Sequence[Path] = _GPU_DEVICES) -> bool:
    """Whether the driver of an NVIDIA GPU, a Jetson's or a PC's, has made one of its devices."""
    return any(device.exists() for device in devices)
