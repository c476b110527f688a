"""A tiny finished run, once for all export tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_run import tiny_architecture, write_tiny_run
from train.checkpoint import TrainedRun, load_run


@pytest.fixture(scope="package", autouse=True)
def registry() -> Iterator[None]:
    with tiny_architecture():
        yield


@pytest.fixture(scope="package")
def tiny_run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_run(tiny_run_path: Path) -> TrainedRun:
    return load_run(tiny_run_path)
