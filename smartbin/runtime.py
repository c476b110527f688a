"""Chooses what runs a bundle's model."""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias

from smartbin.bundle import Bundle
from smartbin.classifier import Classifier
from smartbin.ort_classifier import OrtClassifier, OrtDevice

RuntimeName: TypeAlias = Literal["auto", "onnxruntime-cuda", "onnxruntime-cpu"]

_DEVICES: dict[RuntimeName, OrtDevice] = {"auto": "auto", "onnxruntime-cuda": "cuda", "onnxruntime-cpu": "cpu"}
_log = logging.getLogger(__name__)


def open_classifier(bundle: Bundle, runtime: RuntimeName = "auto", threads: int | None = None) -> Classifier:
    """Open a bundle with the best runtime there is (`auto`: CUDA, then CPU) or with the one named.

    A named runtime that is missing is an error (`InferenceError`), never silently another one.
    """
    classifier = OrtClassifier.open(bundle, device=_DEVICES[runtime], threads=threads)
    _log.info("%s %s runs on %s", bundle.manifest.name, bundle.manifest.version, classifier.runtime)
    return classifier
