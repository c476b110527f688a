"""Makes up for what rounding does to the mean of each channel and of each logit.

Rounding a convolution's weights shifts the mean of its outputs, most of all in depthwise convolutions, which sum only
nine products. The shift is a constant per channel, so the bias can take it back (Nagel et al., arXiv 1906.04721,
section 4.2). It is measured on real photos, with one inference of a graph in which every convolution has a twin that
holds only its rounding error. On an EfficientNet-Lite0 with a new head this raised the signal-to-noise ratio of the
logits from 17 to 21 dB, and taking back the mean shift of the logits after calibration by another 1.6 dB, at no cost
on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from smartbin.bundle import INPUT_NAME

_LARGEST = 127  # symmetric int8


def correct_biases(source: Path, target: Path, batches: Iterator[NDArray[np.uint8]]) -> int:
    """Write the graph `source` with corrected convolution biases to `target`; return how many were corrected.

    `batches` are network inputs uint8 [n, S, S, 3] RGB. Convolutions without a constant bias are left as they are.
    """
    model = onnx.load(source)
    constants = {item.name: item for item in model.graph.initializer}
    nodes = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and len(node.input) == 3 and {node.input[1], node.input[2]} <= constants.keys()
    ]
    if not nodes:
        onnx.save(model, target)
        return 0
    shifts = _mean_shifts(_with_twins(source, nodes), batches)
    for node, shift in zip(nodes, shifts, strict=True):
        bias = constants[node.input[2]]
        corrected = numpy_helper.to_array(bias) - shift
        bias.CopyFrom(numpy_helper.from_array(corrected.astype(np.float32), bias.name))
    onnx.save(model, target)
    return len(nodes)


def shift_logits(path: Path, shift: NDArray[np.floating]) -> bool:
    """Add `shift` [C] to the bias of the last layer, in place; False if that layer has no constant bias.

    For what remains after `correct_biases`: rounding activations, too, moves the mean of each logit.
    """
    model = onnx.load(path)
    last = next((node for node in model.graph.node if model.graph.output[0].name in node.output), None)
    constants = {item.name: item for item in model.graph.initializer}
    if last is None or last.op_type != "Gemm" or len(last.input) != 3 or last.input[2] not in constants:
        return False
    bias = constants[last.input[2]]
    bias.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(bias) + shift).astype(np.float32), bias.name))
    onnx.save(model, path)
    return True


def rounding_error(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """What symmetric int8 per output channel adds to weights [C, ...]: the rounded ones minus the given ones."""
    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    step = np.maximum(largest / _LARGEST, 1e-12).reshape(-1, *[1] * (weights.ndim - 1))
    return np.asarray(np.clip(np.rint(weights / step), -_LARGEST, _LARGEST) * step - weights, np.float32)


def _with_twins(source: Path, nodes: list[onnx.NodeProto]) -> bytes:
    """The graph with a twin for each convolution in `nodes`; its outputs are the twins' channel means, [C] each."""
    model = onnx.load(source)
    graph = model.graph
    weights = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    graph.initializer.append(numpy_helper.from_array(np.asarray([0, 2, 3], np.int64), "twin_axes"))
    del graph.output[:]
    for number, node in enumerate(nodes):
        error, product, mean = f"twin_{number}_error", f"twin_{number}_product", f"twin_{number}_mean"
        graph.initializer.append(numpy_helper.from_array(rounding_error(weights[node.input[1]]), error))
        twin = helper.make_node("Conv", [node.input[0], error], [product], name=product)
        twin.attribute.extend(node.attribute)
        graph.node.append(twin)
        graph.node.append(helper.make_node("ReduceMean", [product, "twin_axes"], [mean], name=mean, keepdims=0))
        graph.output.append(helper.make_tensor_value_info(mean, TensorProto.FLOAT, None))
    serialised: bytes = model.SerializeToString()
    return serialised


def _mean_shifts(model: bytes, batches: Iterator[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    totals: list[NDArray[np.float64]] = []
    photos = 0
    for batch in batches:
        means = [np.asarray(value, np.float64) * len(batch) for value in session.run(None, {INPUT_NAME: batch})]
        totals = means if not totals else [total + mean for total, mean in zip(totals, means, strict=True)]
        photos += len(batch)
    return [total / photos for total in totals]
