"""A finished run of a small network that processes started for it know, too: one of timm's own test networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.tiny_run import CLASSES, draw_coloured_photos, write_run
from train.networks.architectures import architecture_of

NAME = "timm:test_resnet"


def write_timm_run(folder: Path) -> Path:
    """`folder/run`, never trained, and its photos in `folder/photos`."""
    photos = draw_coloured_photos(folder / "photos", {"train": 3, "val": 2, "test": 1})
    architecture = architecture_of(NAME)
    torch.manual_seed(0)
    network = architecture.build(len(CLASSES), 0.0, 0.0)
    logits = np.eye(len(CLASSES))[[CLASSES.index(photo.label) for photo in photos["val"]]] * 4
    return write_run(folder, architecture, network.eval(), photos, logits)
