"""`evaluate` and `report` on a finished run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from train.run import main


def test_run_on_its_own_validation_photos_gives_its_own_figures(train_tiny: Callable[..., Path]) -> None:
    path = train_tiny()
    assert main(["evaluate", str(path), "--light", "1", "0.25", "0.0625", "--workers", "0"]) == 0
    levels = json.loads((path / "evaluation.json").read_text())["evaluations"][0]["levels"]
    assert [level["light"] for level in levels] == [1, 0.25, 0.0625]
    assert levels[0]["score"] == json.loads((path / "metrics.json").read_text())["val"]
    assert levels[0]["score"]["loss"] != levels[2]["score"]["loss"]


def test_other_folder_may_lack_classes(
    train_tiny: Callable[..., Path], photo_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = train_tiny()
    other = photo_folder({"bottle": 3, "can": 2}, name="elsewhere")
    assert main(["evaluate", str(path), "--data", str(other), "--workers", "0"]) == 0
    assert "carton" in capsys.readouterr().out
    assert main(["evaluate", str(path), "--workers", "0"]) == 0
    entries = json.loads((path / "evaluation.json").read_text())["evaluations"]
    assert [entry["levels"][0]["score"]["photos"] for entry in entries] == [5, 6]
    assert entries[0]["levels"][0]["score"]["per_class"][2]["recall"] is None


@pytest.mark.parametrize(
    ("flags", "code", "expected"),
    [
        (["--light", "0"], 2, "no such light"),
        (["--data", "nowhere"], 1, "no data set here"),
        (["--workers", "-7"], 2, "--workers"),
    ],
)
def test_refusals(
    train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str], flags: list[str], code: int, expected: str
) -> None:
    assert main(["evaluate", str(train_tiny()), *flags]) == code
    assert expected in capsys.readouterr().err


def test_unknown_class_is_refused(
    train_tiny: Callable[..., Path], photo_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = photo_folder({"bottle": 2, "banana": 2}, name="fruit")
    assert main(["evaluate", str(train_tiny()), "--data", str(other)]) == 1
    assert "banana" in capsys.readouterr().err


def test_report_is_made_again_also_when_the_photos_moved(
    train_tiny: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    path = train_tiny()
    (path / "report.md").unlink()
    shutil.move(photos, tmp_path / "moved")
    assert main(["report", str(path)]) == 0
    assert "No gallery" in (path / "report.md").read_text(encoding="utf-8")
    assert main(["report", str(path), "--data", str(tmp_path / "moved")]) == 0
    assert "mistakes.png" in (path / "report.md").read_text(encoding="utf-8")
