"""Fixtures of the training tests: the tiny network, and a run with it through the real entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.train.tiny import NAME, register_tiny
from train.run import main

FLAGS = (
    "--model",
    NAME,
    "--weights",
    "none",
    "--workers",
    "0",
    "--precision",
    "fp32",
    "--device",
    "cpu",
    "--batch",
    "8",
)


@pytest.fixture(autouse=True)
def _tiny_network() -> Iterator[None]:
    """The tiny network is registered, and one thread is enough for it."""
    register_tiny()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def photos(photo_folder: Callable[..., Path]) -> Path:
    """A folder with three classes of drawn photos."""
    return photo_folder({"bottle": 14, "can": 12, "carton": 11})


@pytest.fixture
def train_tiny(photos: Path, tmp_path: Path) -> Callable[..., Path]:
    """A factory: train the tiny network on `photos` with more flags; returns the run directory."""

    def run(*flags: str, name: str = "run", data: Path = photos) -> Path:
        out = tmp_path / name
        code = main(["--data", str(data), "--out", str(out), "--epochs", "2", *FLAGS, *flags])
        assert code == 0
        return out

    return run
