"""The engine of this machine tried out: built if need be, opened, and held against ONNX Runtime. `doctor --engine`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from device.scene import builtin_scene_path, read_story
from smartbin.bundle import Bundle
from smartbin.classifier import Classifier, ClassifierOutput
from smartbin.engine.callbacks import Progress
from smartbin.engine.opening import build_here, open_engine
from smartbin.engine.options import EngineSettings
from smartbin.golden import TOLERANCES
from smartbin.images import read_image
from smartbin.ort_classifier import OrtClassifier
from smartbin.preprocess import NetworkInput, stack_inputs, to_input

_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class EngineTrial:
    """How an engine did on the items of the built-in scene."""

    frames: int
    same_answers: int
    largest_difference: float
    """Of a probability, from ONNX Runtime's on the CPU."""
    limit: float
    tensorrt_ms: float
    cpu_ms: float
    """Median of a frame, network and copies."""
    built: bool
    start_s: float
    """To open the engine once it is built."""

    @property
    def passed(self) -> bool:
        """Whether the answers are those of the model: close, and other classes only where two were level."""
        return self.largest_difference <= self.limit


def try_engine(bundle: Bundle, settings: EngineSettings, progress: Progress) -> EngineTrial:
    """Run the scene's items through the engine and through ONNX Runtime. `InferenceError` if there can be no engine."""
    inputs = scene_inputs(bundle)
    _, built = build_here(bundle, settings, progress)
    started = time.perf_counter()
    engine = open_engine(bundle, settings)
    start_s = time.perf_counter() - started
    try:
        ours, ours_ms = answers_of(engine, inputs)
        batched = engine.classify(stack_inputs(inputs))
    finally:
        engine.close()
    reference = OrtClassifier.open(bundle, device="cpu")
    try:
        theirs, theirs_ms = answers_of(reference, inputs)
    finally:
        reference.close()
    expected = np.concatenate([item.probabilities for item in theirs])
    single = np.concatenate([item.probabilities for item in ours])
    off = max(float(np.abs(found - expected).max()) for found in (single, batched.probabilities))
    same = int((single.argmax(axis=1) == expected.argmax(axis=1)).sum())
    limit = TOLERANCES[bundle.manifest.precision]
    return EngineTrial(len(inputs), same, off, limit, ours_ms, theirs_ms, built, start_s)


def scene_inputs(bundle: Bundle) -> list[NetworkInput]:
    """The items of the built-in scene as a bundle wants them."""
    folder = builtin_scene_path()
    frames = [frame for frame in read_story(folder).frames if frame.phase == "staying"]
    return [to_input(read_image(folder / frame.file), bundle.manifest.preprocess) for frame in frames]


def answers_of(classifier: Classifier, inputs: Sequence[NetworkInput]) -> tuple[list[ClassifierOutput], float]:
    """One by one, as the daemon asks, and the median time of it in milliseconds; the first round warms up."""
    answers: list[ClassifierOutput] = []
    taken: list[float] = []
    for _ in range(1 + _ROUNDS):
        answers, taken = [], []
        for item in inputs:
            started = time.perf_counter()
            answers.append(classifier.classify(stack_inputs([item])))
            taken.append((time.perf_counter() - started) * 1000)
    return answers, median(taken)
