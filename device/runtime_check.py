"""A bundle in every runtime of this machine, in turn: which is fastest here. `doctor --runtimes`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from device.engine_check import answers_of, scene_inputs
from smartbin.bundle import Bundle
from smartbin.classifier import Classifier
from smartbin.engine.options import EngineSettings
from smartbin.errors import InferenceError
from smartbin.golden import TOLERANCES
from smartbin.ort_classifier import cuda_available
from smartbin.runtime import RuntimeName, open_classifier

_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class RuntimeTrial:
    """How one runtime did on the items of the built-in scene."""

    runtime: RuntimeName
    frame_ms: float
    """Median of a frame, network and copies."""
    largest_difference: float
    """Of a probability, from ONNX Runtime's on the CPU."""
    agrees: bool


def runtimes_here() -> list[RuntimeName]:
    """Those that are installed, the reference first."""
    found: list[RuntimeName] = ["onnxruntime-cpu"]
    if cuda_available():
        found.append("onnxruntime-cuda")
    if importlib.util.find_spec("openvino") is not None:
        found.append("openvino-cpu")
    if importlib.util.find_spec("tensorrt") is not None:
        found.append("tensorrt")
    return found


def try_runtimes(
    bundle: Bundle, names: Sequence[RuntimeName], threads: int | None, engine: EngineSettings
) -> tuple[list[RuntimeTrial], list[str]]:
    """Run the scene's items through each, taking turns; fastest first. Also what could not be tried, and why.

    `names` begins with `onnxruntime-cpu`, the reference; what it raises passes through.
    """
    inputs = scene_inputs(bundle)
    skipped: list[str] = []
    times: dict[RuntimeName, list[float]] = {}
    probabilities: dict[RuntimeName, NDArray[np.float32]] = {}
    with ExitStack() as stack:
        opened: dict[RuntimeName, Classifier] = {}
        for name in names:
            try:
                classifier = open_classifier(bundle, name, threads, engine)
            except InferenceError as error:
                if not opened:
                    raise
                skipped.append(f"{name}: {error.what}")
                continue
            stack.callback(classifier.close)
            opened[name] = classifier
        for _ in range(_ROUNDS):
            for name, classifier in opened.items():
                answers, took_ms = answers_of(classifier, inputs)
                times.setdefault(name, []).append(took_ms)
                probabilities[name] = np.concatenate([answer.probabilities for answer in answers])
    expected, limit = probabilities[names[0]], TOLERANCES[bundle.manifest.precision]
    trials = []
    for name, took in times.items():
        off = float(np.abs(probabilities[name] - expected).max())
        trials.append(RuntimeTrial(name, median(took), off, off <= limit))
    return sorted(trials, key=lambda trial: trial.frame_ms), skipped
