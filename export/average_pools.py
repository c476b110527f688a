"""Average pools as depthwise convolutions, for int8 on CPUs. Called by `quantisation.quantise`.

ONNX Runtime's integer average pool takes as long as a large convolution (InceptionV3 has nine of 3 x 3, which took a
third of its time), while its depthwise convolutions are fast. An average is a convolution whose weights are all
1 / (h w), which symmetric int8 holds exactly. Where a pointwise convolution alone reads the pool, the two change
places, which is the same sum in another order: then only as many channels are averaged as leave the convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.device_graph import drop_unused_constants


def pools_to_convolutions(path: Path) -> int:
    """Replace the average pools of a float graph that are convolutions; returns how many.

    The file is rewritten in place. A pool that leaves its padding out of the average, or rounds its size up, stays.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    channels = {
        item.name: item.type.tensor_type.shape.dim[1].dim_value
        for item in (*graph.value_info, *graph.input)
        if len(item.type.tensor_type.shape.dim) == 4
    }
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    outputs = {item.name for item in graph.output}
    nodes: list[onnx.NodeProto] = []
    moved: set[str] = set()
    count = 0
    for node in graph.node:
        if node.name in moved:
            continue
        kernel = _kernel(node)
        if kernel is None or not channels.get(node.input[0]):
            nodes.append(node)
            continue
        count += 1
        readers = [other for other in graph.node if node.output[0] in other.input]
        reader = readers[0] if len(readers) == 1 and node.output[0] not in outputs else None
        if reader is not None and _narrows(reader, constants):
            moved.add(reader.name)
            nodes += _pointwise_first(node, reader, kernel, constants, graph)
        else:
            nodes.append(_averaging(node, node.input[0], node.output[0], channels[node.input[0]], kernel, graph))
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused_constants(graph)
    onnx.save(model, path)
    return count


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _kernel(node: onnx.NodeProto) -> tuple[int, int] | None:
    """The size [h, w] of an average pool that counts its padding, as a convolution does; None for other nodes."""
    if node.op_type != "AveragePool":
        return None
    found = _attributes(node)
    size = found["kernel_shape"]
    plain = found.get("auto_pad", b"NOTSET") == b"NOTSET" and not found.get("ceil_mode")
    undiluted = any(found.get("pads", ())) and not found.get("count_include_pad")
    return (size[0], size[1]) if plain and not undiluted and len(size) == 2 else None


def _narrows(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> bool:
    """Whether a node is a pointwise convolution with constant weights and fewer channels behind it than before."""
    if node.op_type != "Conv" or any(name not in constants for name in node.input[1:]):
        return False
    weights, found = constants[node.input[1]], _attributes(node)
    pointwise = weights.shape[2:] == (1, 1) and found.get("group", 1) == 1
    in_place = set(found.get("strides", (1,))) == {1} and not any(found.get("pads", ()))
    return pointwise and in_place and weights.shape[0] < weights.shape[1]


def _pointwise_first(
    pool: onnx.NodeProto,
    convolution: onnx.NodeProto,
    kernel: tuple[int, int],
    constants: dict[str, np.ndarray],
    graph: onnx.GraphProto,
) -> list[onnx.NodeProto]:
    """The convolution without its bias, then the average, with it: zeros in the padding stay zeros."""
    between = f"{pool.output[0]}_narrow"
    first = helper.make_node("Conv", [pool.input[0], convolution.input[1]], [between], name=convolution.name)
    first.attribute.extend(convolution.attribute)
    wide = constants[convolution.input[1]].shape[0]
    second = _averaging(pool, between, convolution.output[0], wide, kernel, graph)
    second.input.extend(convolution.input[2:])
    return [first, second]


def _averaging(
    pool: onnx.NodeProto, source: str, target: str, channels: int, kernel: tuple[int, int], graph: onnx.GraphProto
) -> onnx.NodeProto:
    weights = np.full((channels, 1, *kernel), 1 / (kernel[0] * kernel[1]), np.float32)
    name = f"{pool.name}_weights"
    graph.initializer.append(numpy_helper.from_array(weights, name))
    node = helper.make_node("Conv", [source, name], [target], name=f"{pool.name}_depthwise", group=channels)
    node.attribute.extend(item for item in pool.attribute if item.name in ("kernel_shape", "strides", "pads"))
    return node
