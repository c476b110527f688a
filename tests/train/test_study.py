"""Studies through the entry point: what they train, measure and write, and that they go on where they were stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from smartbin.calibration import wilson_interval
from tests.train.conftest import FLAGS
from tests.train.sets import write_garbage, write_recycle
from train.checkpoint import TrainedRun, load_run, read_record
from train.metrics import Score
from train.report.document import Document, Section, duration
from train.report.document_markdown import to_markdown
from train.run import main
from train.study.command import ignored_settings
from train.study.findings import findings
from train.study.measure import MEASUREMENTS_FILE, Measurement, MeasurementsFile, StudyRun
from train.study.plans import DARK_RUNS, EXPOSURES, OURS, STUDIES, THEIRS, Choice, Network, dark_conditions

BASE = ("--epochs", "1", *FLAGS)


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "study.csv").read_text(encoding="utf-8").splitlines()))


def told_of(folder: Path) -> float:
    """How well the run on combined data tells sources apart, as its record has it."""
    probe = read_record(folder / "tiny on combined" / MEASUREMENTS_FILE, MeasurementsFile).probe
    assert probe
    return probe.from_features


def no_more_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a run whose network is asked once more fails."""

    def fail(run: TrainedRun) -> None:
        raise AssertionError(f"measured again: {run.path}")

    monkeypatch.setattr(TrainedRun, "build_model", fail)


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
    assert "dark photos only" in {row["run"] for row in rows}  # as the results call it
    lights = [float(row["accuracy"]) for row in rows if row["run"] == "both" and "correction" not in row["condition"]]
    assert len(lights) == 10
    assert f"{np.mean(lights):.3f}" in next(line for line in text.splitlines() if line.startswith("| both |"))
    assert all(f"×{light}" in text for light in ("2", "1", "1/2", "1/4", "1/8", "1/16"))
    assert len(EXPOSURES) == 6
    assert cv2.imread(str(out / "study.png")) is not None
    assert not load_run(out / "neither").preprocess.brightness.enabled

    no_more_networks(monkeypatch)
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
    assert [row["condition"] for row in rows] == ["validation", "test", photos.name]
    assert int(rows[2]["photos"]) == 37
    assert "batch = 5" in next(out.glob("*/config.toml")).read_text()


def test_models_are_compared_data_set_by_data_set(
    tmp_path: Path, photo_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the test photos that a set has; other photos are shown to those runs alone that know their classes."""
    root = tmp_path / "sets"
    write_garbage(root / "garbage")
    write_recycle(root / "recycle")
    out = tmp_path / "models"
    base = ["study", "models", "--models", "tiny", "--data-sets", "garbage", "recycle", "--data-root", str(root)]
    base += ["--min-photos", "3", "--out", str(out), *BASE]
    strangers = photo_folder({"cat": 3, "dog": 3}, name="strangers")
    assert main([*base, "--measure", str(strangers)]) == 1  # before anything is trained
    assert "class folders that the run does not know" in capsys.readouterr().err
    assert not out.exists()

    assert main([*base, "--measure", str(root / "garbage")]) == 0
    printed = capsys.readouterr().out
    assert "not measured: tiny on recycle on garbage: class folders that the run does not know" in printed
    conditions: dict[str, list[str]] = {}
    for row in rows_of(out):
        conditions.setdefault(row["run"], []).append(row["condition"])
    assert conditions == {
        "tiny on garbage": ["validation", "test", "garbage"],
        "tiny on recycle": ["validation", "test"],
    }
    (tested,) = (row for row in rows_of(out) if (row["run"], row["condition"]) == ("tiny on recycle", "test"))
    score = load_run(out / "tiny on recycle").metrics.test
    assert score
    assert (int(tested["photos"]), int(tested["correct"])) == (score.photos, score.correct)
    text = (out / "study.md").read_text(encoding="utf-8")
    assert "Best on validation of garbage: tiny on garbage" in text
    assert "Best on validation of recycle: tiny on recycle" in text


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


def test_a_study_tests_networks_at_other_sizes_and_on_other_photos(photos: Path, tmp_path: Path) -> None:
    """Five conditions, more than stand side by side in a table."""
    out = tmp_path / "size"
    command = ["study", "size", "--data", str(photos), "--measure", str(photos), "--out", str(out), *BASE]
    assert main([*command, "--test-size", "64"]) == 0
    rows = rows_of(out)
    assert [row["condition"] for row in rows[:4]] == [f"tested at {size} px" for size in (128, 160, 192, 240)]
    assert rows[4]["condition"] == photos.name
    assert cv2.imread(str(out / "study.png")) is not None
    assert {row["run"] for row in rows} == {"trained at 128 px", "trained at 192 px"}
    assert load_run(out / "trained at 128 px").preprocess.size == 64  # the run itself is as it was asked for


def test_distillation_study_wants_a_teacher(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--data", str(photos), *BASE]
    assert main(["study", "distillation", *base]) == 2
    assert "--teacher RUN" in capsys.readouterr().err
    assert main([*base, "--out", str(tmp_path / "teacher")]) == 0
    out = tmp_path / "distilled"
    assert main(["study", "distillation", *base, "--teacher", str(tmp_path / "teacher"), "--out", str(out)]) == 0
    taught = {path.parent.name: "teacher = []" not in path.read_text() for path in out.glob("*/config.toml")}
    assert taught == {"labels alone": False, "half from teachers": True, "nine tenths from teachers": True}


def test_every_study_has_a_question_and_different_runs() -> None:
    choice = Choice((Network("resnet50"), Network("resnet9")), ("x", "y"), (), {"teacher": []})
    for study in STUDIES.values():
        runs = study.runs(choice)
        assert study.question.endswith("?")
        assert len(runs) >= 2
        assert len({repr(sorted(settings.items(), key=str)) for settings in runs.values()}) == len(runs)


def test_a_run_that_cannot_be_made_is_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "loss"
    absent = str(tmp_path / "absent.safetensors")
    flags = ["--data", str(photos), "--group-weights", absent, "--out", str(out), *BASE]
    assert main(["study", "loss", *flags]) == 0
    assert {row["run"] for row in rows_of(out)} == set(STUDIES["loss"].runs(Choice((), (), (), {}))) - {"grouped split"}
    assert "left out: grouped split: no such file of starting weights" in capsys.readouterr().out

    (out / "default" / "model.safetensors").unlink()
    assert main(["study", "loss", *flags, "--so-far"]) == 0
    text = (out / "study.md").read_text(encoding="utf-8")
    assert "So far: not finished, and not in here: default." in text
    assert "Best on validation" in text  # what the study says of certain runs is left out


def test_sources_are_told_apart_on_the_photos_of_all_folds(tmp_path: Path) -> None:
    write_garbage(tmp_path / "sets" / "garbage")
    write_recycle(tmp_path / "sets" / "recycle")
    out = tmp_path / "models"
    flags = ["--models", "tiny", "--data-sets", "combined", "--data-root", str(tmp_path / "sets")]
    folds = ["--folds", "2", "--split", "seeded", "--min-photos", "3"]
    assert main(["study", "models", *flags, *folds, "--out", str(out), *BASE]) == 0
    text = (out / "study.md").read_text(encoding="utf-8")
    photos = sum(int(row["photos"]) for row in rows_of(out) if row["condition"] == "validation")
    kept = [
        read_record(out / f"tiny on combined, fold {fold}" / MEASUREMENTS_FILE, MeasurementsFile).probe
        for fold in (0, 1)
    ]
    told = np.mean([probe.from_features for probe in kept if probe])
    assert f"| tiny on combined | {photos} | {told:.3f} |" in text


def test_ours_against_the_original_recipe_over_folds(photos: Path, tmp_path: Path) -> None:
    """From the same weights, photos held back fold by fold; the figures are those of all photos together."""
    seed, out = tmp_path / "seed", tmp_path / "original"
    assert main(["--data", str(photos), "--out", str(seed), *BASE]) == 0
    weights = str(seed / "model.safetensors")
    flags = [
        "--models",
        f"tiny={weights}",
        "--folds",
        "2",
        "--split",
        "seeded",
        "--train-size",
        "32",
        "--test-size",
        "48",
    ]
    command = ["study", "original", *flags, "--data", str(photos), "--measure", str(photos), "--out", str(out), *BASE]
    assert main(command) == 0
    rows = rows_of(out)
    at_home = [row for row in rows if row["condition"] == "validation"]
    assert [(row["run"], row["fold"]) for row in at_home] == [
        (f"tiny{recipe}", fold) for recipe in (THEIRS, OURS) for fold in ("0", "1")
    ]
    assert sum(int(row["photos"]) for row in at_home) == 2 * 37
    theirs, ours = ([load_run(out / f"tiny{recipe}, fold {fold}") for fold in (0, 1)] for recipe in (THEIRS, OURS))
    assert {run.weights for run in (*theirs, *ours)} == {theirs[0].weights}
    assert theirs[0].preprocess.size == 32  # tested at the size that it was trained at
    assert ours[0].preprocess.size == 48
    assert not theirs[0].preprocess.brightness.enabled
    text = (out / "study.md").read_text(encoding="utf-8")
    again = [row for row in rows if (row["run"], row["condition"]) == (f"tiny{OURS}", photos.name)]
    low, high = wilson_interval(round(np.mean([int(row["correct"]) for row in again])), 37)
    (row,) = (line for line in text.splitlines() if line.startswith(f"| tiny{OURS} | ") and "–" in line)
    assert f"({low:.3f}–{high:.3f})" in row
    together = sum(run.validation.correct for run in ours) / 37
    row = next(line for line in text.splitlines() if line.startswith(f"| tiny, ours | {together:.3f} ("))
    seconds = sum(run.metrics.seconds for run in ours)
    assert f" | {duration(seconds)} | " in row
    spread = np.std([run.validation.accuracy for run in ours], ddof=1)
    mean = np.mean([run.validation.accuracy for run in ours])
    assert f"| tiny, ours | {mean:.4f} ± {spread:.4f} |" in text
    assert "of 2 folds) of accuracy against the original recipe" in text


def test_what_is_finished_so_far_can_be_written(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folds count once every row has them: fold 1 of the second recipe is missing here, then fold 0 of the first."""
    seed, out = tmp_path / "seed", tmp_path / "original"
    assert main(["--data", str(photos), "--out", str(seed), *BASE]) == 0
    flags = ["--models", f"tiny={seed / 'model.safetensors'}", "--folds", "2", "--split", "seeded"]
    command = ["study", "original", *flags, "--data", str(photos), "--out", str(out), *BASE]
    assert main([*command, "--so-far"]) == 1
    assert "nothing of this study is finished" in capsys.readouterr().err
    assert not out.exists()

    assert main(command) == 0
    whole = rows_of(out)
    (out / f"tiny{OURS}, fold 1" / "model.safetensors").unlink()
    assert main([*command, "--so-far"]) == 0
    assert rows_of(out) == [row for row in whole if row["fold"] == "0"]
    text = (out / "study.md").read_text(encoding="utf-8")
    assert f"So far: not finished, and not in here: tiny{THEIRS}, fold 1; tiny{OURS}, fold 1." in text
    assert "of accuracy against the original recipe" in text
    (out / f"tiny{THEIRS}, fold 0" / "model.safetensors").unlink()
    assert main([*command, "--so-far"]) == 1


def test_runs_of_a_study_can_be_trained_one_by_one(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As several machines would: each row of fold 1 alone, and a name that no run has."""
    seed, out = tmp_path / "seed", tmp_path / "original"
    assert main(["--data", str(photos), "--out", str(seed), *BASE]) == 0
    flags = ["--models", f"tiny={seed / 'model.safetensors'}", "--folds", "2", "--split", "seeded"]
    command = ["study", "original", *flags, "--data", str(photos), "--out", str(out), *BASE]
    assert main([*command, "--only", "fold 7"]) == 2
    assert f"tiny{OURS}, fold 1" in capsys.readouterr().err
    assert not out.exists()

    assert main([*command, "--only", f"tiny{OURS}, fold 1"]) == 0
    assert "nothing to write yet" in capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == [f"tiny{OURS}, fold 1"]
    assert main([*command, "--only", "original recipe, fold 1", "elsewhere"]) == 0
    assert {(row["run"], row["fold"]) for row in rows_of(out)} == {(f"tiny{THEIRS}", "1"), (f"tiny{OURS}", "1")}


def test_original_study_starts_both_recipes_from_the_first_published_weights() -> None:
    runs = STUDIES["original"].runs(Choice((Network("resnet50"), Network("efficientnet_lite0", "a.pt")), (), (), {}))
    assert {name: settings.get("weights") for name, settings in runs.items()} == {
        "resnet50, original recipe": "imagenet_v1",
        "resnet50, ours": "imagenet_v1",
        "efficientnet_lite0, original recipe": "a.pt",
        "efficientnet_lite0, ours": "a.pt",
    }
    assert runs["resnet50, original recipe"]["config"] == "original_resnet50"


def test_places_study_has_a_run_on_rendered_pictures_where_there_are_some() -> None:
    plain = STUDIES["places"].runs(Choice((), (), (), {}))
    more = STUDIES["places"].runs(Choice((), (), (), {}, rendered="pictures"))
    assert set(more) - set(plain) == {"rendered pictures"}
    assert more["rendered pictures"]["extra"] == ["pictures"]


def test_study_on_several_sources_says_whether_these_can_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_garbage(tmp_path / "sets" / "garbage")
    write_recycle(tmp_path / "sets" / "recycle")
    out = tmp_path / "models"
    flags = ["--models", "tiny", "--data-sets", "garbage", "combined", "--data-root", str(tmp_path / "sets")]
    places = []
    for number in range(3):  # five conditions, of which the runs on one source lack two
        write_garbage(tmp_path / f"place{number}")
        places.append(str(tmp_path / f"place{number}"))
    command = ["study", "models", *flags, "--min-photos", "3", "--measure", *places, "--out", str(out), *BASE]
    assert main(command) == 0
    text = (out / "study.md").read_text(encoding="utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith("| tiny on combined | 34 |"))
    told = [float(cell) for cell in row.split("|")[3:6]]
    assert min(told) >= 0
    assert told[1] == pytest.approx(0.64, abs=0.2)  # paper and trash are in one of the sources alone
    assert told[2] == 0.5
    assert "validation, recycle alone" in text
    probed = {row["run"]: [row[f"source_{name}"] for name in ("from_features", "chance")] for row in rows_of(out)}
    assert probed == {"tiny on garbage": ["", ""], "tiny on combined": [f"{told_of(out):.4f}", "0.5000"]}
    no_more_networks(monkeypatch)
    assert main(command) == 0
    assert (out / "study.md").read_text(encoding="utf-8") == text


def test_study_names_the_best_test_size_and_what_its_runs_were_made_with(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the end the second run is made out to be of another precision: its row differs in more than its settings."""
    out = tmp_path / "size"
    command = ["study", "size", "--data", str(photos), "--out", str(out), *BASE, "--train-size", "64", "--epochs", "2"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "note: train_size 64 does not hold for any run: the study itself sets it to 128 or 192" in printed
    assert "note: epochs" not in printed
    text = (out / "study.md").read_text(encoding="utf-8")
    rows = rows_of(out)
    for run in ("trained at 128 px", "trained at 192 px"):
        figures = {row["condition"]: float(row["accuracy"]) for row in rows if row["run"] == run}
        best = max(figures, key=lambda condition: figures[condition])  # the first of equal ones: the smallest
        assert f"Best for what was {run}: {best}, {figures[best]:.3f}." in text
    assert "Best on tested at" not in text
    assert "loss (tested at 128 px)" in text
    assert "Warning" not in text

    metrics = load_run(out / "trained at 192 px").metrics
    last = metrics.history[-1]
    (row,) = (row for row in rows if (row["run"], row["condition"]) == ("trained at 192 px", "tested at 128 px"))
    falls = [before.raw_val_accuracy - after.raw_val_accuracy for before, after in pairwise(metrics.history)]
    expected = {
        "training_loss": last.train_loss,
        "plain_training_loss": metrics.train.loss,
        "gap": last.train_loss - metrics.val.loss,
        "plain_gap": metrics.train.loss - metrics.val.loss,
        "largest_fall": max(0.0, *falls),
        "highest_training_loss_after_epoch_1": last.train_loss,
    }
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected, abs=1e-4)
    assert (row["source_from_features"], row["precision"]) == ("", "32-true")

    file = out / "trained at 192 px" / "metrics.json"
    file.write_text(metrics.model_copy(update={"precision": "bf16-mixed"}).model_dump_json(), encoding="utf-8")
    assert main(command) == 0
    text = (out / "study.md").read_text(encoding="utf-8")
    assert "Warning: these runs were not all made with the same precision. What differs" in text
    assert "| trained at 192 px | bf16-mixed |" in text
    assert "precision 32-true and bf16-mixed;" in text  # at the foot


def placed(name: str, home: float, away: float | None) -> StudyRun:
    """A row of a study: accuracies on its validation photos and in another place."""
    figures = [Measurement(condition="validation", key="", score=scored(home))]
    if away is not None:
        figures.append(Measurement(condition="kitchen", key="photos PosixPath('kitchen')", score=scored(away)))
    return StudyRun(name, (), [figures])


def scored(accuracy: float) -> Score:
    low, high = wilson_interval(round(1000 * accuracy), 1000)
    return Score(
        photos=1000, correct=round(1000 * accuracy), accuracy=accuracy, interval_low=low, interval_high=high,
        macro_f1=accuracy, loss=1.0, per_class=[], confusion=[],
    )  # fmt: skip


def told(study: str, rows: list[StudyRun]) -> str:
    """What a study of rows without folds says, as Markdown."""
    rows = [replace(row, runs=(None,)) for row in rows]  # type: ignore[arg-type]
    return to_markdown(Document("t", "s", (), (Section("x", tuple(findings(study, rows))),)))


def test_places_are_ranked_by_the_other_place_with_the_cost_at_home() -> None:
    rows = [
        placed("plain", 0.95, 0.6),
        placed("keep", 0.93, 0.8),
        placed("paste", 0.94, 0.79),
        placed("pull", 0.9, 0.5),
    ]
    text = told("places", rows)
    assert (
        "Best on kitchen: keep, 0.800, 0.200 more than plain; at home, on validation, it has 0.930, 0.020 less" in text
    )
    assert "Within its 95 % interval: paste." in text
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0] for line in lines] == ["| keep", "| paste", "| plain", "| pull"]
    assert lines[1].endswith("| +0.190 | 0.940 | -0.010 |")
    assert lines[2].endswith("| – | 0.950 | – |")


def test_places_study_without_another_place_says_so() -> None:
    text = told("places", [placed("plain", 0.95, None), placed("keep", 0.96, None)])
    assert "Best on validation: keep" in text
    assert "--measure FOLDER" in text


def test_cost_of_the_dark_is_said_without_a_sign() -> None:
    def row(name: str) -> StudyRun:
        better = 0.1 if name == "both" else 0.0
        names = [condition.name for condition in dark_conditions()]
        return StudyRun(
            name, (), [[Measurement(condition=name, key=name, score=scored(0.8 + better)) for name in names]]
        )

    text = told("dark", [row(name) for name in DARK_RUNS])
    assert "together gets 0.900 right, 0.100 more than one with neither" in text
    assert "cost +" not in text
    assert "loses" not in text


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"recipe.dropout": "0"}, None),
        ({"recipe.dropout": "0.0"}, None),
        ({"recipe.dropout": ".3"}, "note: recipe.dropout .3 does not hold for b: the study itself sets it to 0.0"),
        ({"data": ["x"]}, None),
        ({"data": ["x", "y"]}, "note: data x, y does not hold for b: the study itself sets it to x"),
        ({"epochs": "3"}, None),
    ],
)
def test_flags_that_a_study_sets_itself_are_named(given: dict[str, object], line: str | None) -> None:
    runs = {"a": {}, "b": {"recipe.dropout": 0.0, "data": ["x"]}}
    assert ignored_settings(runs, given) == ([line] if line else [])
