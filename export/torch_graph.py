"""From the trained network to an ONNX graph of the same: normalised float32 [N, 3, S, S] to logits [N, C].

What surrounds the network on a device (bytes in, probabilities out) is added by `device_graph`.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from smartbin.errors import ExportError

PIXELS_NAME, LOGITS_NAME = "pixels", "logits"
#: TensorRT 10.3 (JetPack 6) reads up to opset 20; torch's exporter writes 18 without converting.
OPSET = 18


def export_network(network: nn.Module, size: int, path: Path) -> None:
    """Write the network as ONNX: `pixels` float32 [N, 3, size, size] to `logits` float32 [N, C], N dynamic, one file.

    The network is copied, put in evaluation mode and moved to the CPU. Batch normalisation is folded into the
    convolutions by the exporter. Raises `ExportError` if torch cannot trace it.
    """
    prepared = _without_adaptive_pooling(copy.deepcopy(network).cpu().float().eval())
    example = torch.zeros(2, 3, size, size)  # a batch of 1 would be baked in as a constant
    batch = torch.export.Dim("N", min=1, max=4096)
    with _quiet():
        try:
            program = torch.onnx.export(
                prepared,
                (example,),
                dynamo=True,
                external_data=False,
                dynamic_shapes=({0: batch},),
                input_names=[PIXELS_NAME],
                output_names=[LOGITS_NAME],
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(
                "torch cannot write this network as ONNX", found=str(error)[:500], fix="update torch and onnxscript"
            ) from error
    if program is None:
        raise ExportError("torch wrote no ONNX program", found=f"torch {torch.__version__}")
    model = program.model_proto
    strip_metadata(model)
    onnx.save(model, path)


def strip_metadata(model: onnx.ModelProto) -> None:
    """Remove what the exporter noted for debugging: stack traces, which hold this machine's paths, and type names."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    model.producer_name, model.producer_version = "smartbin", ""


class _Mean(nn.Module):
    """Global average pooling as a plain mean: float32 [N, C, H, W] to [N, C, 1, 1]."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3), keepdim=True)


def _without_adaptive_pooling(network: nn.Module) -> nn.Module:
    """Replace pooling to 1 × 1 by a mean, which is the same and exports as one node.

    torch 2.14 decomposes `adaptive_avg_pool2d` into a gather over a computed index range, which neither ONNX Runtime
    nor TensorRT can fuse.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size in (1, (1, 1)):
            setattr(network, name, _Mean())
        else:
            _without_adaptive_pooling(child)
    return network


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress lines on stdout and its notes on missing optional packages."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
