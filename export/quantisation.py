"""The int8 form of a graph: static Q/DQ, calibrated on training photos through the device preprocessing.

Weights are symmetric int8 per output channel. For CPUs activations are uint8: ONNX Runtime fuses this into integer
convolutions on x86 and ARM, while symmetric int8 activations leave every ReLU6 outside of them and run no faster than
float (measured on EfficientNet-Lite0). TensorRT takes symmetric ones alone, see `PLACEMENTS`. Several ways to find the
activations' ranges are tried; the one whose graph agrees best with the float graph on validation photos is taken. The
two ends of the graph and the last layer (some thousand weights, and the one that decides) stay float32.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.average_pools import pools_to_convolutions
from export.bias_correction import correct_biases, shift_logits
from export.device_graph import BYTES_PREFIX
from export.photo_batches import class_balanced, take_evenly
from export.straight_bytes import feed_bytes
from export.tensorrt_graph import free_fused_additions
from smartbin.bundle import INPUT_NAME, Target
from smartbin.calibration import softmax
from smartbin.errors import ExportError
from smartbin.images import LabelledPhoto, read_image
from smartbin.lowlight import dim
from smartbin.ort_classifier import ask_for_exact_int8
from smartbin.preprocess import PreprocessSpec, to_input

_BATCH = 4
_DARKEST = 1 / 16
_BIAS_PHOTOS = 96


@dataclass(frozen=True, slots=True)
class RangeMethod:
    """A way to find activation ranges, and how many photos it gets (histograms are slow and saturate early)."""

    name: str
    method: CalibrationMethod
    photos: int
    options: tuple[tuple[str, float | bool], ...] = ()


RANGE_METHODS = (
    RangeMethod("min-max", CalibrationMethod.MinMax, 288),
    RangeMethod("averaged min-max", CalibrationMethod.MinMax, 288, (("CalibMovingAverage", True),)),
    RangeMethod("percentile 99.999", CalibrationMethod.Percentile, 96, (("CalibPercentile", 99.999),)),
    RangeMethod("percentile 99.99", CalibrationMethod.Percentile, 96, (("CalibPercentile", 99.99),)),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a target wants its quantisation."""

    activations: QuantType
    note: str
    """For the manifest."""
    operators: tuple[str, ...] = ()
    """Whose inputs are quantised; empty: all that ONNX Runtime has integer kernels for."""
    options: tuple[tuple[str, bool | list[str]], ...] = ()


_WEIGHTED = ["Conv", "Gemm", "MatMul", "Add"]
PLACEMENTS: Mapping[Target, Placement] = MappingProxyType(
    {
        "cpu": Placement(QuantType.QUInt8, "uint8 activations", options=(("ActivationSymmetric", False),)),
        # TensorRT knows no zero points and no int32 biases, rounds weights itself, and fuses an activation and a
        # residual addition with the convolution before it where nothing is quantised between them.
        "tensorrt": Placement(
            QuantType.QInt8,
            "symmetric int8 activations at the inputs of convolutions and residual additions",
            operators=tuple(_WEIGHTED),
            options=(
                ("ActivationSymmetric", True),
                ("QuantizeBias", False),
                ("AddQDQPairToWeight", True),
                ("OpTypesToExcludeOutputQuantization", _WEIGHTED),
            ),
        ),
    }
)


@dataclass(frozen=True, slots=True)
class CalibrationPhotos:
    """Network inputs uint8 [N, S, S, 3] RGB."""

    ranges: NDArray[np.uint8]
    """Of training photos, to find the ranges of activations with."""
    judges: NDArray[np.uint8]
    """Of photos that were not trained on, to choose the method by: on those it was trained on a network is so sure
    that every method keeps its answers."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a calibration did on the judging photos, against the float graph."""

    method: RangeMethod
    path: Path
    agreement: float
    mean_difference: float

    def __str__(self) -> str:
        return f"{self.method.name}: agreement {self.agreement:.4f}, mean difference {self.mean_difference:.4f}"


@dataclass(frozen=True, slots=True)
class Quantised:
    """The chosen trial, all of them, and a sentence for the manifest."""

    best: Trial
    trials: tuple[Trial, ...]
    description: str


def read_calibration_photos(
    training: Sequence[LabelledPhoto],
    unseen: Sequence[LabelledPhoto],
    spec: PreprocessSpec,
    *,
    ranges: int = 288,
    judges: int = 360,
    seed: int = 0,
) -> CalibrationPhotos:
    """A class-balanced sample of training photos and at most `judges` of the unseen ones; every third is darkened."""
    classes = {photo.label for photo in training}
    chosen = class_balanced(training, -(-ranges // max(1, len(classes))), seed)[:ranges]
    judging = take_evenly(unseen, judges)
    if not chosen or not judging:
        raise ExportError(
            "too few photos to calibrate int8 with",
            found=f"{len(chosen)} training photos, {len(judging)} others",
            expected="1 or more of each",
        )
    return CalibrationPhotos(_inputs(chosen, spec, seed), _inputs(judging, spec, seed))


def _inputs(photos: Sequence[LabelledPhoto], spec: PreprocessSpec, seed: int) -> NDArray[np.uint8]:
    """Network inputs; the light of a darkened photo is drawn between 1/16 and 1, evenly in stops."""
    rng = np.random.default_rng(seed)
    inputs = []
    for number, photo in enumerate(photos):
        image = read_image(photo.path)
        if number % 3 == 2:
            image = dim(image, float(_DARKEST ** rng.random()), rng)
        inputs.append(to_input(image, spec).image)
    return np.stack(inputs)


def quantise(
    source: Path,
    folder: Path,
    photos: CalibrationPhotos,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    target: Target = "cpu",
    methods: Sequence[RangeMethod] = RANGE_METHODS,
    report: Callable[[str], None] = lambda _: None,
) -> Quantised:
    """Make the int8 form of a graph from `image` to `logits`; intermediate files go to `folder`.

    `mean` and `std` are those that the graph normalises with, RGB, on the 0 to 1 scale.

    Every method in `methods` is tried, each reported as it ends. `ExportError` if the runtime's quantiser fails.
    """
    prepared, corrected = folder / "prepared.onnx", folder / "corrected.onnx"
    with _quiet():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    correct_biases(prepared, corrected, _batched(photos.ranges[:_BIAS_PHOTOS], 8))
    if target == "cpu":
        pools_to_convolutions(corrected)
    expected = run_logits(source, _batched(photos.judges))
    trials = []
    right = run_logits(source, _batched(photos.ranges[:_BIAS_PHOTOS]))
    for number, method in enumerate(methods):
        path = folder / f"int8-{number}.onnx"
        _quantise_once(corrected, path, method, PLACEMENTS[target], photos.ranges[: method.photos])
        if target == "tensorrt":
            free_fused_additions(path)
        else:
            feed_bytes(path, mean=mean, std=std)
        shift_logits(path, (right - run_logits(path, _batched(photos.ranges[:_BIAS_PHOTOS]))).mean(axis=0))
        trials.append(_judge(method, path, expected, run_logits(path, _batched(photos.judges))))
        report(str(trials[-1]))
    best = max(trials, key=lambda trial: (trial.agreement, -trial.mean_difference))
    used = len(photos.ranges[: best.method.photos])
    return Quantised(
        best,
        tuple(trials),
        f"{best.method.name} on {used} class-balanced training photos, a third of them darkened; int8 weights per "
        f"channel with bias correction, {PLACEMENTS[target].note}; the last layer, which decides, and both ends of the "
        f"graph stay float32; best of {len(trials)} methods on "
        f"{len(photos.judges)} validation photos, a third of them darkened",
    )


def run_logits(path: Path, batches: Iterator[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Logits [N, C] of a graph from `image` to `logits` on ONNX Runtime's CPU provider."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    ask_for_exact_int8(options)
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(session.run(None, {INPUT_NAME: batch})[0], np.float32) for batch in batches])


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    """Feeds calibration inputs in small batches, a range of them at a time, so that histograms fit in memory."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._batches = list(_batched(images, _BATCH))
        self._rest = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._rest = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._rest, None)
        return None if batch is None else {INPUT_NAME: batch}


def _quantise_once(
    source: Path, target: Path, method: RangeMethod, placement: Placement, images: NDArray[np.uint8]
) -> None:
    nodes = onnx.load(source, load_external_data=False).graph.node
    last = [node.name for node in nodes if node.op_type in ("Gemm", "MatMul")][-1:]
    options: dict[str, object] = {"WeightSymmetric": True, **dict(placement.options), **dict(method.options)}
    if method.method != CalibrationMethod.MinMax:
        options["CalibStridedMinMax"] = 1  # works for histograms, too: keeps the activations of one batch in memory
    with _quiet():
        try:
            quantize_static(
                str(source),
                str(target),
                _Reader(images),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                op_types_to_quantize=list(placement.operators) or None,
                activation_type=placement.activations,
                weight_type=QuantType.QInt8,
                calibrate_method=method.method,
                nodes_to_exclude=[node.name for node in nodes if node.name.startswith(BYTES_PREFIX)] + last,
                extra_options=options,
            )
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExportError(
                "ONNX Runtime cannot quantise this graph",
                where=method.name,
                found=str(error)[:500],
                fix=f"update ONNX Runtime (this is {ort.__version__}), or export fp32",
            ) from error


def _judge(method: RangeMethod, path: Path, expected: NDArray[np.float32], found: NDArray[np.float32]) -> Trial:
    agreement = float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
    return Trial(method, path, agreement, float(np.abs(softmax(expected) - softmax(found)).mean()))


def _batched(images: NDArray[np.uint8], size: int = 16) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + size] for start in range(0, len(images), size))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The calibrators print; what is worth knowing is reported here instead."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
