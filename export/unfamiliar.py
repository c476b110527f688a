"""Distance from the training photos as part of the energy, so that a bin holds back more of what it has never seen.

The logits alone cannot tell most other things from waste; the features in front of them can. It is the distance of
`train/networks/feature_distance.py`, computed inside the graph, and it costs acceptance where the places are new.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.device_graph import check_graph
from export.torch_graph import LOGITS_NAME
from smartbin.bundle import ENERGY_NAME
from smartbin.errors import ExportError
from train.checkpoint import TrainedRun
from train.networks.feature_distance import FeatureSpace
from train.report.findings import outputs_if_kept
from train.report.rejection import weight_in_energy

_PREFIX = "unfamiliar_"


def distance_of(run: TrainedRun, share: float) -> tuple[FeatureSpace, float]:
    """The space that the run measured on its training photos, and the weight of the distance for `share`.

    `ExportError` if the run has none.
    """
    outputs = outputs_if_kept(run.path)
    if outputs is None or outputs.space is None or outputs.val.distances is None:
        raise ExportError(
            "this run has no feature space",
            where=run.path,
            expected="outputs.npz with the directions of the training photos' features",
            fix="train again with this version, or leave it out: --unfamiliar 0",
        )
    return outputs.space, weight_in_energy(outputs.val, share)


def add_distance(source: Path, target: Path, space: FeatureSpace, weight: float) -> None:
    """Add `weight` x the feature distance to the `energy` of a finished graph. `ExportError` if its end is unknown."""
    model = onnx.load(source)
    graph = model.graph
    features = _features(graph, source)
    for node in graph.node:
        node.output[:] = [_name("logits_energy") if name == ENERGY_NAME else name for name in node.output]
    constants: dict[str, NDArray[np.generic]] = {
        "tiny": np.asarray(1e-12, np.float32),
        "zero": np.asarray(0, np.float32),
        "axis": np.asarray([1], np.int64),
        "mean": space.mean[None],
        "directions": space.directions,
        "weight": np.asarray(weight, np.float32),
    }
    steps = (
        ("ReduceL2", (features, _name("axis")), "length"),
        ("Max", (_name("length"), _name("tiny")), "safe_length"),
        ("Div", (features, _name("safe_length")), "unit"),
        ("Sub", (_name("unit"), _name("mean")), "offset"),
        ("MatMul", (_name("offset"), _name("directions")), "along"),
        ("ReduceSumSquare", (_name("offset"), _name("axis")), "whole"),
        ("ReduceSumSquare", (_name("along"), _name("axis")), "known"),
        ("Sub", (_name("whole"), _name("known")), "rest"),
        ("Max", (_name("rest"), _name("zero")), "square"),
        ("Sqrt", (_name("square"),), "distance"),
        ("Mul", (_name("distance"), _name("weight")), "weighted"),
        ("Squeeze", (_name("weighted"), _name("axis")), "share"),
    )
    for kind, inputs, output in steps:
        graph.node.append(helper.make_node(kind, inputs, [_name(output)], name=_name(output)))
    parts = [_name("logits_energy"), _name("share")]
    graph.node.append(helper.make_node("Add", parts, [ENERGY_NAME], name=_name("energy")))
    graph.initializer.extend(numpy_helper.from_array(value, _name(key)) for key, value in constants.items())
    model.metadata_props.add(key="energy", value=f"-logsumexp(logits) + {weight:g} x feature distance")
    check_graph(model, target)
    onnx.save(model, target)


def _features(graph: onnx.GraphProto, where: Path) -> str:
    """Name of what the last linear layer gets, [N, D], as float32."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get(LOGITS_NAME)
    half = node is not None and node.op_type == "Cast"  # the end of a network in half precision
    if node is not None and half:
        node = producers.get(node.input[0])
    if node is None or node.op_type != "Gemm":
        raise ExportError(
            "cannot find the features of this network",
            where=where,
            found=f"logits from {node.op_type}" if node else "no logits",
            expected="logits from Gemm",
        )
    features = str(node.input[0])
    if not half:
        return features
    graph.node.append(
        helper.make_node("Cast", [features], [_name("features")], name=_name("features"), to=TensorProto.FLOAT)
    )
    return _name("features")


def _name(part: str) -> str:
    return _PREFIX + part
