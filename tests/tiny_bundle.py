"""A model bundle of a few hundred bytes, made with onnx alone: it judges by mean colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from smartbin.bundle import Bundle, ManifestDraft, Metric, Parity, TrainingRecord, write_bundle
from smartbin.prediction import RejectThresholds
from smartbin.preprocess import PreprocessSpec

TINY_CLASSES = ("red", "green", "blue")
TINY_SIZE = 32


def tiny_model(*, size: int = TINY_SIZE, gain: float = 0.1) -> onnx.ModelProto:
    """Mean colour × gain as logits, and the two outputs of the contract."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "sides"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceLogSumExp", ["logits", "classes"], ["total"], keepdims=0),
        helper.make_node("Neg", ["total"], ["energy"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size, size, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("energy", TensorProto.FLOAT, ["N"]),
        ],
        [
            numpy_helper.from_array(np.float32(gain), "gain"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "sides"),
            numpy_helper.from_array(np.array([1], np.int64), "classes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def tiny_draft(**changes: object) -> ManifestDraft:
    """A manifest draft that fits `tiny_model`, with `changes`."""
    fields: dict[str, object] = {
        "name": "tiny",
        "version": "1",
        "created_utc": "2026-01-01T00:00:00Z",
        "classes": TINY_CLASSES,
        "architecture": "mean-colour",
        "precision": "fp32",
        "preprocess": PreprocessSpec(size=TINY_SIZE),
        "thresholds": RejectThresholds(min_confidence=0.6, max_energy=100.0),
        "temperature": 1.0,
        "metrics": (
            Metric(
                split="validation",
                photos=10,
                of="exported",
                accuracy=0.9,
                interval_low=0.6,
                interval_high=0.98,
                macro_f1=0.9,
            ),
        ),
        "parity": Parity(
            photos=10, top1_agreement=1.0, max_abs_probability_difference=0.0, mean_abs_probability_difference=0.0
        ),
        "training": TrainingRecord(run="r", seed=0, epochs=1, weights="none", data="none", data_fingerprint="none"),
    }
    return ManifestDraft.model_validate({**fields, **changes})


def write_tiny_bundle(path: Path, *, model: onnx.ModelProto | None = None, **changes: object) -> Bundle:
    """Write the bundle to `path` and read it back."""
    file = path.parent / f"{path.name}.onnx"
    onnx.save(model or tiny_model(), file)
    try:
        return write_bundle(path, model=file, card="# tiny\n", draft=tiny_draft(**changes))
    finally:
        file.unlink()
