"""What TensorRT wants of a Q/DQ graph beyond its placement by operator: residual additions that it can fuse.

A convolution and the addition behind it become one kernel if the convolution's own result is not rounded in between;
the other branch, which comes from memory, is read as int8 (explicit quantisation, "Q/DQ placement", in NVIDIA's
documentation). Called by `quantisation.quantise`.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from export.device_graph import drop_unused_constants


def free_fused_additions(path: Path) -> int:
    """Take the rounding of one convolution's result before each addition out of the graph; returns how many there were.

    The file is rewritten in place.
    """
    model = onnx.load(path)
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    freed: list[onnx.NodeProto] = []
    for addition in (node for node in graph.node if node.op_type == "Add"):
        for place, name in enumerate(addition.input):
            pair = _own_pair(name, makers, readers)
            if pair:
                addition.input[place] = pair[0].input[0]
                freed += pair
                break
    kept = [node for node in graph.node if node not in freed]
    del graph.node[:]
    graph.node.extend(kept)
    drop_unused_constants(graph)
    onnx.save(model, path)
    return len(freed) // 2


def _own_pair(
    name: str, makers: dict[str, onnx.NodeProto], readers: dict[str, list[onnx.NodeProto]]
) -> list[onnx.NodeProto]:
    """Quantisation and its reversal, if `name` is a convolution's result after them and nothing else reads it."""
    back = makers.get(name)
    if back is None or back.op_type != "DequantizeLinear":
        return []
    there = makers.get(back.input[0])
    if there is None or there.op_type != "QuantizeLinear":
        return []
    source = makers.get(there.input[0])
    alone = all(len(readers[item]) == 1 for item in (name, back.input[0], there.input[0]))
    return [there, back] if alone and source is not None and source.op_type == "Conv" else []
