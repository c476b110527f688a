"""Studies through the entry point: what they train, measure and write, and that they go on where they were stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from tests.train.conftest import FLAGS
from train import study_measure
from train.checkpoint import load_run
from train.run import main
from train.study_plans import DARK_RUNS, EXPOSURES, STUDIES, dark_conditions

BASE = ("--epochs", "1", *FLAGS)


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "study.csv").read_text(encoding="utf-8").splitlines()))


def test_dark_study_answers_its_question(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "dark"
    command = ["study", "dark", "--data", str(photos), "--out", str(out), *BASE]
    assert main(command) == 0
    rows = rows_of(out)
    assert len(rows) == len(DARK_RUNS) * len(dark_conditions())
    assert {row["run"] for row in rows} == set(DARK_RUNS)
    plain = next(row for row in rows if (row["run"], row["condition"]) == ("both", "×1"))
    assert float(plain["accuracy"]) == pytest.approx(load_run(out / "both").validation.accuracy, abs=1e-4)
    text = (out / "study.md").read_text(encoding="utf-8")
    assert "at a quarter of the light" in text
    assert all(f"×{light}" in text for light in ("2", "1", "1/2", "1/4", "1/8", "1/16"))
    assert len(EXPOSURES) == 6
    assert cv2.imread(str(out / "study.png")) is not None
    assert not load_run(out / "neither").preprocess.brightness.enabled

    def fail(*arguments: object, **named: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(study_measure, "classify", fail)
    assert main(command) == 0  # everything is on record
    record = out / "both" / "measurements.json"
    content = json.loads(record.read_text())
    content["measurements"] = content["measurements"][:-1]
    record.write_text(json.dumps(content))
    with pytest.raises(AssertionError, match="measured again"):
        main(command)


def test_study_measures_other_photos_and_keeps_the_command_line(
    photos: Path, photo_folder: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "models"
    flags = ["--measure", str(photos), "--models", "tiny", "--data-sets", str(photos), str(tmp_path / "absent")]
    assert main(["study", "models", *flags, "--out", str(out), *BASE[:-2], "--batch", "5"]) == 0
    rows = rows_of(out)
    assert [row["condition"] for row in rows] == ["validation", photos.name]
    assert int(rows[1]["photos"]) == 37
    assert "batch = 5" in next(out.glob("*/config.toml")).read_text()


def test_study_refuses_what_it_does_not_know(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["nothing"], ["dark", "--measure", str(tmp_path / "absent")], ["dark", "--resume", str(tmp_path)]):
        with pytest.raises(SystemExit, match="2"):
            main(["study", *wrong])
    assert "no such folder" in capsys.readouterr().err
    assert main(["study", "dark", "--data", str(tmp_path / "absent"), *BASE]) == 1
    twice = ["--data-sets", "here/photos", "there/photos"]
    assert main(["study", "models", *twice, *BASE]) == 2
    printed = capsys.readouterr().err
    assert "data sets of one name" in printed
    assert "no data set here" in printed


def test_every_study_has_a_question_and_different_runs() -> None:
    from train.study_plans import Choice

    choice = Choice(("a", "b"), ("x", "y"), ())
    for study in STUDIES.values():
        runs = study.runs(choice)
        assert study.question.endswith("?")
        assert len(runs) >= 2
        assert len({repr(sorted(settings.items(), key=str)) for settings in runs.values()}) == len(runs)
