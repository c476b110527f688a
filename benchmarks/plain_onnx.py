"""A run's network as others expect an ONNX file: RGB planes from 0 to 1 in, probabilities out, named classes."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from export.torch_graph import export_network
from train.checkpoint import TrainedRun, load_run


class _Plain(nn.Module):
    """float32 [N, 3, S, S] from 0 to 1, to probabilities float32 [N, C]."""

    mean: Tensor
    std: Tensor

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        self.network = run.build_model()
        self.register_buffer("mean", torch.tensor(run.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(run.std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits.softmax(1)


def write_plain_onnx(run_path: Path, path: Path) -> None:
    """Write the file with the metadata by which ultralytics knows a classifier. Takes some ten seconds."""
    run = load_run(run_path)
    size = run.preprocess.size
    export_network(_Plain(run), size, path)
    model = onnx.load(path)
    told = {
        "task": "classify",
        "names": repr(dict(enumerate(run.classes))),
        "imgsz": repr([size, size]),
        "stride": "1",
        "batch": "1",
        "channels": "3",
    }
    onnx.helper.set_model_props(model, told)
    onnx.save(model, path)
