"""Fixtures of the device tests: the tiny bundle, a small staged story, a folder of plain colours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.device.broker import Mosquitto
from tests.device.staging import COLOURS, write_story


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle of a few hundred bytes that judges by mean colour."""
    pytest.importorskip("onnx")  # it is made with onnx
    from tests.tiny_bundle import write_tiny_bundle

    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path


@pytest.fixture(scope="session")
def staged_story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two items, red and green, in an empty bin."""
    return write_story(tmp_path_factory.mktemp("story"))


@pytest.fixture
def story(tmp_path: Path, staged_story: Path) -> Path:
    """A copy of the staged story, to do with as one likes."""
    return Path(shutil.copytree(staged_story, tmp_path / "story"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that runs, for tests that are marked `needs_mosquitto`."""
    broker = Mosquitto(tmp_path / "broker").start()
    yield broker
    broker.kill()


@pytest.fixture
def colour_folder(tmp_path: Path) -> Path:
    """Three photos in each of the folders red, green and blue."""
    root = tmp_path / "colours"
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in (1, 2, 10):
            cv2.imwrite(str(root / name / f"{name}{number}.jpg"), np.full((48, 64, 3), colour, np.uint8))
    return root
