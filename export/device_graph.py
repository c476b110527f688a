"""What surrounds the network in `model.onnx`: bytes in front, calibrated probabilities and energy behind.

Both ends are float32 in every precision. They are added with onnx alone, so that int8 quantisation can sit between
them and the temperature can be fitted on the logits of the graph as it will be shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.torch_graph import LOGITS_NAME, PIXELS_NAME
from smartbin.bundle import ENERGY_NAME, INPUT_NAME, PROBABILITIES_NAME
from smartbin.errors import ExportError

BYTES_PREFIX = "bytes_"
Triple = tuple[float, float, float]


def add_bytes_input(source: Path, target: Path, *, mean: Triple, std: Triple, cast_first: bool = False) -> None:
    """Put `image` uint8 [N, S, S, 3] RGB in front of a network that takes `pixels`, normalised float32 [N, 3, S, S].

    `(x / 255 - mean) / std` is one multiplication and one subtraction. The bytes are transposed before they become
    floats, a quarter of the memory traffic, unless `cast_first`: TensorRT takes bytes only where a cast reads them.
    """
    model = onnx.load(source)
    graph = model.graph
    size = graph.input[0].type.tensor_type.shape.dim[2].dim_value
    deviation = np.asarray(std, np.float64)
    scale = (1 / (255.0 * deviation)).astype(np.float32).reshape(1, 3, 1, 1)
    shift = (np.asarray(mean, np.float64) / deviation).astype(np.float32).reshape(1, 3, 1, 1)
    steps: dict[str, dict[str, Any]] = {"Transpose": {"perm": [0, 3, 1, 2]}, "Cast": {"to": TensorProto.FLOAT}}
    nodes, source_name = [], INPUT_NAME
    for kind in reversed(steps) if cast_first else steps:
        name = f"{BYTES_PREFIX}{kind.lower()}"
        nodes.append(helper.make_node(kind, [source_name], [name], name=name, **steps[kind]))
        source_name = name
    scaled = f"{BYTES_PREFIX}scaled"
    nodes += [
        helper.make_node("Mul", [source_name, f"{BYTES_PREFIX}scale"], [scaled], name=scaled),
        helper.make_node("Sub", [scaled, f"{BYTES_PREFIX}shift"], [PIXELS_NAME], name=f"{BYTES_PREFIX}pixels"),
    ]
    constants = [(scale, f"{BYTES_PREFIX}scale"), (shift, f"{BYTES_PREFIX}shift")]
    network_nodes = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *network_nodes])
    graph.initializer.extend(numpy_helper.from_array(value, name) for value, name in constants)
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", size, size, 3]))
    onnx.save(model, target)


def add_probabilities(source: Path, target: Path, *, temperature: float, notes: Mapping[str, str]) -> None:
    """Put `probabilities` = softmax(logits / temperature) and `energy` = -logsumexp(logits) behind a graph of `logits`.

    The energy is taken at temperature 1, as in Liu et al. (arXiv 2010.03759). `notes` become the file's metadata. The
    result is checked by ONNX with shape inference; `ExportError` if it does not pass.
    """
    model = onnx.load(source)
    graph = model.graph
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    nodes = [
        helper.make_node("Div", [LOGITS_NAME, "temperature"], ["cooled"], name="head_cooled"),
        helper.make_node("Softmax", ["cooled"], [PROBABILITIES_NAME], name="head_softmax", axis=1),
        helper.make_node("ReduceLogSumExp", [LOGITS_NAME, "class_axis"], ["total"], name="head_total", keepdims=0),
        helper.make_node("Neg", ["total"], [ENERGY_NAME], name="head_energy"),
    ]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.asarray(temperature, np.float32), "temperature"))
    graph.initializer.append(numpy_helper.from_array(np.asarray([1], np.int64), "class_axis"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(PROBABILITIES_NAME, TensorProto.FLOAT, ["N", classes]))
    graph.output.append(helper.make_tensor_value_info(ENERGY_NAME, TensorProto.FLOAT, ["N"]))
    helper.set_model_props(model, dict(notes))
    _drop_unused_domains(model)
    graph.name = notes.get("name", graph.name)
    check_graph(model, target)
    onnx.save(model, target)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """ONNX Runtime's quantiser declares every operator set it knows; other readers refuse what they do not know."""
    used = {node.domain for node in model.graph.node}
    kept = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def drop_unused_constants(graph: onnx.GraphProto) -> None:
    """Remove constants that no node reads any more, and what was noted of shapes, which may be another's now."""
    used = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


def check_graph(model: onnx.ModelProto, where: Path) -> None:
    """`ExportError` unless ONNX's checker and strict shape inference accept the model and it is one file."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError("the exported graph is not valid ONNX", where=where, found=str(error)[:500]) from error
    outside = [item.name for item in model.graph.initializer if item.data_location == TensorProto.EXTERNAL]
    if outside:
        raise ExportError(
            "the exported graph keeps weights in another file", where=where, found=outside[0], expected="one file"
        )
