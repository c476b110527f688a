"""`folds`: a run for each fold, their figures together, and a kill loses nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.train.conftest import FLAGS, Steps
from tests.train.objects import object_of, write_objects
from tests.train.tiny import NAME
from train.checkpoint import MODEL_FILE, load_run
from train.datasets import photo_groups
from train.datasets.descriptors import SeeingNetwork
from train.run import main
from train.study.folds import FOLDS_FILE, TABLE_FILE, FoldsReport


@pytest.fixture
def folds(photos: Path, tmp_path: Path) -> Callable[..., int]:
    def run(*flags: str, data: Path = photos) -> int:
        out = ["--out", str(tmp_path / "folds"), "--epochs", "1"]
        return main(["folds", "--folds", "3", "--data", str(data), *out, *FLAGS, *flags])

    return run


def test_figures_of_all_folds(folds: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert folds("--split", "seeded") == 0
    out = tmp_path / "folds"
    runs = [load_run(out / f"fold-{number}") for number in range(3)]
    held = [name for run in runs for name in run.split.parts["val"]]
    assert len(held) == len(set(held)) == 37
    assert all(run.metrics.test is None for run in runs)

    report = FoldsReport.model_validate_json((out / FOLDS_FILE).read_bytes())
    accuracies = [run.validation.accuracy for run in runs]
    assert [fold.accuracy for fold in report.folds] == accuracies
    assert report.accuracy.mean == pytest.approx(np.mean(accuracies))
    assert report.accuracy.sd == pytest.approx(np.std(accuracies, ddof=1))
    assert report.pooled_accuracy == pytest.approx(sum(run.validation.correct for run in runs) / 37)
    recalls = [run.validation.per_class[0].recall for run in runs]
    assert report.class_recall[0].mean == pytest.approx(np.mean([recall or 0 for recall in recalls]))
    assert (report.split, report.classes) == ("seeded (0)", ["bottle", "can", "carton"])

    table = (out / TABLE_FILE).read_text(encoding="utf-8")
    assert f"Accuracy {report.accuracy.mean:.4f} ± {report.accuracy.sd:.4f}" in table
    assert table in capsys.readouterr().out


def test_stopped_folds_go_on(folds: Callable[..., int], tmp_path: Path, steps: Steps) -> None:
    steps.stop_after(3 + 1)  # 24 or 25 photos in batches of 8: in the second fold
    assert folds("--split", "seeded") == 128 + signal.SIGTERM
    out = tmp_path / "folds"
    first = (out / "fold-0" / MODEL_FILE).stat().st_mtime_ns
    assert not (out / FOLDS_FILE).exists()
    begun = steps.done
    assert folds("--split", "seeded") == 0
    assert steps.done - begun == 2 + 3  # what was left of the second fold, and the third one
    assert (out / "fold-0" / MODEL_FILE).stat().st_mtime_ns == first
    assert len(json.loads((out / FOLDS_FILE).read_text())["folds"]) == 3


def test_folds_are_grouped_unless_asked_otherwise_and_resume_keeps_them(
    folds: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_objects(tmp_path / "objects", objects=5)
    monkeypatch.setattr(photo_groups, "NETWORK", SeeingNetwork(NAME, ("front", "back"), "back"))
    assert folds("--group-weights", "none", data=root) == 0
    run = load_run(tmp_path / "folds" / "fold-1")
    assert run.split.split == "fold 1 of 3, grouped (0)"
    objects = [{object_of(photo.path) for photo in run.photos(part)} for part in ("train", "val")]
    assert not objects[0] & objects[1]

    monkeypatch.setattr(photo_groups, "find_groups", lambda *_: pytest.fail("grouped again"))
    monkeypatch.setattr("train.datasets.splits.find_groups", lambda *_: pytest.fail("grouped again"))
    assert main(["--resume", str(run.path)]) == 0  # its split is in its directory
    assert load_run(run.path).split == run.split


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--fold", "1"), "all folds are trained"),
        (("--folds", "0"), "no folds"),
        (("--folds", "1"), "folds must be 0, or 2 and more"),
        (("--split", "published"), "split must be seeded or grouped"),
        (("--resume", "somewhere"), "all folds are trained"),
    ],
)
def test_refusals(
    folds: Callable[..., int], capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], error: str
) -> None:
    assert folds(*flags) == 2
    assert error in capsys.readouterr().err


def test_too_many_folds_are_refused_before_the_first(
    folds: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folds("--folds", "13", "--split", "seeded") == 1
    assert "photos/can 12, photos/carton 11" in capsys.readouterr().err
    assert not (tmp_path / "folds").exists()


def test_folds_of_a_shipped_configuration(folds: Callable[..., int], tmp_path: Path) -> None:
    assert folds("--split", "seeded", "--config", "original_resnet50", "--freeze", "0") == 0
    assert not load_run(tmp_path / "folds" / "fold-0").preprocess.brightness.enabled
