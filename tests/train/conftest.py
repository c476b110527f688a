"""Fixtures of the training tests: the tiny network, and a run with it through the real entry point."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.train.fetching import Site, running_site
from tests.train.tiny import NAME, register_tiny
from train import loop
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
    "--no-outsiders",
    "--no-tensorboard",
)


@pytest.fixture(autouse=True)
def _tiny_network() -> Iterator[None]:
    """The tiny network is registered, and one thread is enough for it."""
    register_tiny()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Steps:
    """Counts the training steps that are done, and sends SIGTERM after one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done, self._last = 0, 0
        self._step = loop.train_step
        monkeypatch.setattr(loop, "train_step", self._counted)

    def stop_after(self, more: int) -> None:
        """SIGTERM comes after so many more steps, once."""
        self._last = self.done + more

    def _counted(self, *arguments: object) -> None:
        self._step(*arguments)  # type: ignore[arg-type]
        self.done += 1
        if self.done == self._last:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The training steps of a test, which `steps.stop_after` stops."""
    return Steps(monkeypatch)


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


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server on this machine."""
    with running_site() as running:
        yield running


@pytest.fixture
def fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A factory: run `data fetch` into `tmp_path/data`; asserts the exit code and returns what was printed."""

    def run(name: str, *flags: str, code: int = 0) -> str:
        capsys.readouterr()
        patience = ["--timeout", "5", "--attempts", "1"]
        found = main(["data", "fetch", name, "--to", str(tmp_path / "data"), *patience, *flags])
        captured = capsys.readouterr()
        assert found == code, captured.out + captured.err
        return captured.out + captured.err

    return run


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without report and plots, which take most of a tiny run's time."""
    monkeypatch.setattr("train.finish.write_report", lambda path: None)
