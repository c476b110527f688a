"""Chooses what runs a bundle's model: TensorRT, then ONNX Runtime with CUDA, then ONNX Runtime on the CPU.

OpenVINO runs it only where it is named: how it compares differs from processor to processor, and a bin that changes its
runtime because a package was installed would surprise its operator.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Literal, TypeAlias

from smartbin.bundle import Bundle
from smartbin.classifier import Classifier
from smartbin.engine.options import EngineSettings
from smartbin.errors import InferenceError
from smartbin.openvino_classifier import OpenVinoClassifier
from smartbin.ort_classifier import OrtClassifier, OrtDevice

RuntimeName: TypeAlias = Literal["auto", "tensorrt", "onnxruntime-cuda", "onnxruntime-cpu", "openvino-cpu"]

_DEVICES: dict[RuntimeName, OrtDevice] = {"auto": "auto", "onnxruntime-cuda": "cuda", "onnxruntime-cpu": "cpu"}
_log = logging.getLogger(__name__)


def open_classifier(
    bundle: Bundle, runtime: RuntimeName = "auto", threads: int | None = None, engine: EngineSettings | None = None
) -> Classifier:
    """Open a bundle with the best runtime there is (`auto`: TensorRT, CUDA, CPU) or with the one named.

    A named runtime that is missing, or whose engine is, is an error (`InferenceError`), never silently another one.
    `auto` says in the log why an installed TensorRT is not used.
    """
    classifier: Classifier | None
    if runtime == "openvino-cpu":
        classifier = OpenVinoClassifier.open(bundle, threads=threads)
    else:
        classifier = _open_tensorrt(bundle, runtime, engine or EngineSettings())
    if classifier is None:
        classifier = OrtClassifier.open(bundle, device=_DEVICES[runtime], threads=threads)
    _log.info("%s %s runs on %s", bundle.manifest.name, bundle.manifest.version, classifier.runtime)
    return classifier


def _open_tensorrt(bundle: Bundle, runtime: RuntimeName, settings: EngineSettings) -> Classifier | None:
    """None where another runtime is wanted, or does instead."""
    wanted = runtime == "tensorrt"
    if not wanted and (runtime != "auto" or importlib.util.find_spec("tensorrt") is None):
        return None
    from smartbin.engine.opening import open_engine  # what a start without TensorRT does not need

    try:
        return open_engine(bundle, settings)
    except InferenceError as error:
        if wanted:
            raise
        _log.warning("TensorRT is not used: %s", "; ".join(line.strip() for line in str(error).splitlines()))
        return None
