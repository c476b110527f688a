"""The fp16 form of a network: weights and arithmetic in half precision, what surrounds it in float32.

Normalisation, softmax and energy are added later and stay float32: an energy of ten with a step of 1/128 would move
thresholds, and bytes divided by 255 need more than ten bits. The conversion is ONNX Runtime's; a weight that half
precision cannot hold is an error here, not an infinity later.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from smartbin.errors import ExportError

_LARGEST = float(np.finfo(np.float16).max)


def to_half(source: Path, target: Path) -> None:
    """Write the fp16 form of the graph `source`, whose input and output stay float32, to `target`.

    `ExportError` if a weight is beyond what half precision can hold.
    """
    model = onnx.load(source)
    for item in model.graph.initializer:
        if item.data_type == TensorProto.FLOAT:
            largest = float(np.abs(numpy_helper.to_array(item)).max(initial=0.0))
            if not largest <= _LARGEST:
                raise ExportError(
                    "a weight does not fit half precision",
                    where=item.name,
                    found=f"{largest:g}",
                    expected=f"at most {_LARGEST:g}",
                    fix="export fp32",
                )
    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    converted.topological_sort()  # the conversion puts its casts last
    onnx.save(converted.model, target)
