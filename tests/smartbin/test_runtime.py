"""Which runtime is taken where there is a GPU that none of them uses, and that this is said."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smartbin import runtime
from smartbin.bundle import read_bundle
from smartbin.runtime import gpu_here, open_classifier
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny").path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine without TensorRT; whether it has a GPU, and an ONNX Runtime that was built with CUDA."""

    def become(*, gpu: bool, cuda: bool) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        monkeypatch.setattr(runtime, "gpu_here", lambda: gpu)
        monkeypatch.setattr(runtime, "cuda_available", lambda: cuda)

    return become


@pytest.mark.parametrize(
    ("gpu", "cuda", "reasons"),
    [
        (False, False, []),
        (True, False, ["TensorRT is not used: it is not installed", "onnxruntime-gpu is not installed"]),
        (True, True, ["TensorRT is not used: it is not installed", "the GPU or its driver did not start"]),
        (False, True, ["the GPU or its driver did not start"]),
    ],
    ids=["no GPU", "GPU, nothing for it", "GPU, CUDA does not start", "CUDA, no GPU"],
)
def test_why_a_gpu_is_not_used_is_said(
    machine: Callable[..., None],
    tiny_bundle: Path,
    caplog: pytest.LogCaptureFixture,
    gpu: bool,
    cuda: bool,
    reasons: list[str],
) -> None:
    machine(gpu=gpu, cuda=cuda)
    classifier = open_classifier(read_bundle(tiny_bundle), threads=1)
    classifier.close()
    assert classifier.runtime == "onnxruntime-cpu"
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert list(classifier.passed_over) == warned
    assert len(warned) == len(reasons)
    for said, reason in zip(warned, reasons, strict=True):
        assert reason in said


def test_a_runtime_that_was_asked_for_passes_nothing_over(
    machine: Callable[..., None], tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine(gpu=True, cuda=True)
    classifier = open_classifier(read_bundle(tiny_bundle), "onnxruntime-cpu", threads=1)
    classifier.close()
    assert classifier.passed_over == ()
    assert caplog.records == []


def test_a_gpu_is_known_by_its_device(tmp_path: Path) -> None:
    devices = (tmp_path / "nvidia0", tmp_path / "nvhost-gpu")
    assert not gpu_here(devices)
    devices[1].touch()
    assert gpu_here(devices)
