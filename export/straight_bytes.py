"""Feeds an int8 graph's first convolution with the image's own bytes.

Normalising to float only to quantise again costs a fifth of an EfficientNet-Lite0's time. Where all channels share
one mean and one deviation, bytes *are* a quantised tensor: scale `1 / (255 * std)`, zero point `255 * mean` rounded.
What the rounding of the zero point leaves (half a code) is a constant, which goes into the convolution's bias; only
where the convolution reads its zero padding does a difference of half a code remain. With different means per channel
the padding would differ by more, so such graphs keep their float normalisation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.device_graph import BYTES_PREFIX, drop_unused_constants
from export.torch_graph import PIXELS_NAME

_PLANES = f"{BYTES_PREFIX}transpose"


def feed_bytes(path: Path, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> bool:
    """Rewrite a Q/DQ graph in place; False, and nothing changed, if it or its normalisation is of another form."""
    if len(set(mean)) != 1 or len(set(std)) != 1:
        return False
    model = onnx.load(path)
    found = _find(model.graph)
    if found is None:
        return False
    quantise, dequantise, bias = found
    scale, exact_zero = 1 / (255 * std[0]), 255 * mean[0]
    zero = round(exact_zero)
    constants = {item.name: item for item in model.graph.initializer}
    weights, weight_scale = _weights(model.graph, constants, dequantise.output[0])
    old_bias = numpy_helper.to_array(constants[bias.input[0]]) * numpy_helper.to_array(constants[bias.input[1]])
    offset = weights.reshape(len(weights), -1).sum(axis=1) * (zero - exact_zero) * scale
    bias_scale = (scale * weight_scale).astype(np.float32)
    new_bias = np.rint((old_bias + offset) / bias_scale).astype(np.int32)
    names = [f"{BYTES_PREFIX}{part}" for part in ("zero", "step", "bias", "bias_scale")]
    values = (np.asarray(zero, np.uint8), np.asarray(scale, np.float32), new_bias, bias_scale)
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for value, name in zip(values, names, strict=True)
    )
    dequantise.input[:] = [_PLANES, names[1], names[0]]
    bias.input[:] = [names[2], names[3], *bias.input[2:]]
    kept = [
        node
        for node in model.graph.node
        if node != quantise and (not node.name.startswith(BYTES_PREFIX) or node.output[0] == _PLANES)
    ]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    drop_unused_constants(model.graph)
    onnx.save(model, path)
    return True


def _find(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto] | None:
    """Quantisation and reversal of the pixels, and reversal of the bias, if one convolution alone reads them."""
    quantise = [node for node in graph.node if PIXELS_NAME in node.input]
    if len(quantise) != 1 or quantise[0].op_type != "QuantizeLinear":
        return None
    dequantise = [node for node in graph.node if quantise[0].output[0] in node.input]
    if len(dequantise) != 1 or dequantise[0].op_type != "DequantizeLinear":
        return None
    readers = [node for node in graph.node if dequantise[0].output[0] in node.input]
    if len(readers) != 1 or readers[0].op_type != "Conv" or len(readers[0].input) != 3:
        return None
    bias = next((node for node in graph.node if readers[0].input[2] in node.output), None)
    if bias is None or bias.op_type != "DequantizeLinear":
        return None
    return quantise[0], dequantise[0], bias


def _weights(
    graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto], pixels: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first convolution's weights as the graph rounds them, [C, 3, K, K], and the step of each channel, [C]."""
    convolution = next(node for node in graph.node if pixels in node.input)
    source = next(node for node in graph.node if convolution.input[1] in node.output)
    codes, step = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in source.input[:2])
    step = np.broadcast_to(step, len(codes))
    return codes * step.reshape(-1, 1, 1, 1), step
