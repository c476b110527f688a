"""smartbin beside its peers, those that are here and those that are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.report import read_report
from benchmarks.run import main
from tests.benchmarks.timm_run import write_timm_run
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_run import draw_coloured_photos

FAKE_ULTRALYTICS = """
import os
from types import SimpleNamespace
import cv2
import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession


class YOLO:
    def __init__(self, file, task):
        opened = InferenceSession if os.environ.get("FAKE_OPTIONS") else onnxruntime.InferenceSession
        self.session = opened(file, providers=["CPUExecutionProvider"])

    def predict(self, frame, imgsz, device, verbose):
        (entry,) = self.session.get_inputs()
        planes = cv2.resize(frame, (imgsz, imgsz)).transpose(2, 0, 1)[None].astype(np.float32) / 255
        (scores, *_) = self.session.run(None, {entry.name: planes})
        return [SimpleNamespace(probs=SimpleNamespace(data=scores[0]))]
"""
SHORT = ("--laps", "2", "--limit", "3", "--out", "x.json")


def _rows() -> list[dict[str, object]]:
    (table,) = read_report(Path("x.json")).tables
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_peers_that_need_a_run_say_so(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", classes=("glass", "metal", "paper")).path
    draw_coloured_photos(tmp_path / "photos", {"val": 2})
    assert main(["compare", "--bundle", str(bundle), "--photos", str(tmp_path / "photos"), *SHORT]) == 0
    ours, notebook, ultralytics, opencv = _rows()
    assert str(ours["pipeline"]).startswith("smartbin: tiny fp32")
    assert (ours["n"], ours["times"], ours["same answers"]) == (2, 1, 1)
    assert ours["accuracy"] == opencv["accuracy"] is not None
    assert opencv["remark"] == "opencv-dnn"
    for row in (notebook, ultralytics):
        assert (row["n"], row["p50 ms"], row["remark"]) == (0, None, "needs --run RUN")


def test_the_notebook_runs_and_a_peer_that_is_not_installed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden" / "ultralytics"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('hidden by the test')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(hidden.parent))
    bundle = write_tiny_bundle(tmp_path / "tiny").path
    run = write_timm_run(tmp_path)
    arguments = ["--bundle", str(bundle), "--run", str(run), "--photos", str(tmp_path / "photos"), "--device", "cpu"]
    assert main(["compare", *arguments, *SHORT]) == 0
    _, notebook, ultralytics, _ = _rows()
    assert (notebook["n"], notebook["remark"]) == (2, "torch-eager-cpu")
    assert notebook["accuracy"] in (0, 1 / 3, 2 / 3, 1)
    assert (ultralytics["n"], ultralytics["remark"]) == (0, "not installed: pip install ultralytics")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_pipeline_that_leaves_its_cores_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's threads go to cores of their own; ultralytics is told how many they may be."""
    fake = tmp_path / "fake" / "ultralytics"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text(FAKE_ULTRALYTICS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(fake.parent))
    bundle = write_tiny_bundle(tmp_path / "tiny").path
    run = write_timm_run(tmp_path)
    arguments = ["--bundle", str(bundle), "--run", str(run), "--photos", str(tmp_path / "photos"), "--device", "cpu"]
    assert main(["compare", *arguments, *SHORT]) == 0
    *_, ultralytics, _ = _rows()
    assert (ultralytics["n"], ultralytics["remark"]) == (2, "onnxruntime-cpu")
    monkeypatch.setenv("FAKE_OPTIONS", "its own")
    assert main(["compare", *arguments, *SHORT]) == 0
    *_, ultralytics, _ = _rows()
    assert (ultralytics["n"], ultralytics["remark"]) == (0, "its threads left the cores that it was given")


def test_without_smartbin_there_is_nothing_to_compare_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny").path
    draw_coloured_photos(tmp_path / "photos", {"val": 2})
    arguments = ["--bundle", str(bundle), "--photos", str(tmp_path / "photos"), "--runtime", "tensorrt"]
    assert main(["compare", *arguments, *SHORT]) == 2
    assert "smartbin itself could not be opened" in capsys.readouterr().err
