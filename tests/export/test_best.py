"""`smartbin-export best`: what it takes, what it passes over, and what it refuses to rank."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from export.run import main
from smartbin.bundle import read_bundle
from train.checkpoint import METRICS_FILE, MODEL_FILE
from train.datasets.split_record import SPLIT_FILE


def copy_of(run: Path, folder: Path, *, macro_f1: float, blind: bool = False) -> Path:
    """The run under another name, with another figure on record; `blind`: it says the same of every photo."""
    shutil.copytree(run, folder)
    metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    metrics["val"]["macro_f1"] = macro_f1
    (folder / METRICS_FILE).write_text(json.dumps(metrics), encoding="utf-8")
    if blind:
        with safe_open(folder / MODEL_FILE, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
            notes = file.metadata()
        weights["classifier.weight"] = torch.zeros_like(weights["classifier.weight"])
        save_file(weights, folder / MODEL_FILE, metadata=notes)
    return folder


@pytest.fixture
def good(tiny_run_path: Path, tmp_path: Path) -> Path:
    return copy_of(tiny_run_path, tmp_path / "good", macro_f1=0.8)


def test_the_best_that_keeps_the_limits_is_exported(
    tiny_run_path: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boast = copy_of(tiny_run_path, tmp_path / "boast", macro_f1=0.99, blind=True)
    worse = copy_of(tiny_run_path, tmp_path / "worse", macro_f1=0.6)
    out = tmp_path / "bundle"
    limits = ["--min-accuracy", "0.9", "--max-latency-ms", "1000", "--precision", "fp32"]
    assert main(["best", str(worse), str(boast), str(good), *limits, "--out", str(out), "--name", "bin"]) == 0
    manifest = read_bundle(out).manifest
    assert (manifest.name, manifest.precision, manifest.training.run) == ("bin", "fp32", "good")
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert [name for name in rows if name in ("boast", "good", "worse")] == ["boast", "good", "worse"]
    assert "accuracy 0.3333" in rows["boast"]
    assert rows["good"].split()[-1] == "taken"
    assert "not tried" in rows["worse"]
    assert f"chosen:  {good}, the highest macro F1" in printed
    assert f"smartbin run --bundle {out}" in printed


def test_no_run_within_the_limits_is_an_error(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bundle"
    assert main(["best", str(good), "--max-latency-ms", "0", "--precision", "fp32", "--out", str(out)]) != 0
    assert "no run keeps the limits" in capsys.readouterr().err
    assert not out.exists()


def test_latency_on_tensorrt_needs_tensorrt(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--target", "tensorrt", "--precision", "fp32", "--out", str(tmp_path / "bundle")]
    assert main(["best", str(good), *flags, "--max-latency-ms", "5"]) == 5
    assert "TensorRT cannot be imported" in capsys.readouterr().err
    assert main(["best", str(good), *flags]) == 0


def test_runs_on_different_photos_are_not_ranked(
    tiny_run_path: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = copy_of(tiny_run_path, tmp_path / "other", macro_f1=0.9)
    split = json.loads((other / SPLIT_FILE).read_text(encoding="utf-8"))
    split["parts"]["val"] = split["parts"]["val"][1:]
    (other / SPLIT_FILE).write_text(json.dumps(split), encoding="utf-8")
    assert main(["best", str(good), str(other), "--out", str(tmp_path / "bundle")]) == 2
    assert "cannot be ranked" in capsys.readouterr().err


def test_accuracy_in_percent_is_refused(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["best", str(good), "--min-accuracy", "95", "--out", str(tmp_path / "bundle")])
    assert "a number above 0, at most 1" in capsys.readouterr().err
