"""The real entry point on small bundles; fair laps; reports that can be read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from benchmarks.laps import Laps, Yardstick, timed
from benchmarks.report import Table, read_report
from benchmarks.run import main
from export.run import main as export
from tests.benchmarks.timm_run import write_timm_run
from tests.tiny_bundle import tiny_model, write_tiny_bundle
from tests.tiny_run import draw_coloured_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw_coloured_photos(tmp_path / "photos", {"val": 4})
    return tmp_path / "photos"


@pytest.fixture
def two_bundles(tmp_path: Path) -> list[str]:
    """One judges by the brightest channel, the other by the darkest: they never agree."""
    plain = write_tiny_bundle(tmp_path / "plain", name="plain")
    opposite: onnx.ModelProto = tiny_model(gain=-0.1)
    return [str(plain.path), str(write_tiny_bundle(tmp_path / "opposite", name="opposite", model=opposite).path)]


def _cells(output: str, first: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_bundles_are_compared_side_by_side(
    photos: Path, two_bundles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Colours are the classes of the tiny bundle and those of the photos materials: here no accuracy can be said."""
    arguments = ["classifier", "--bundle", *two_bundles, "--photos", str(photos), "--laps", "4", "--threads", "1", "2"]
    wanted = ["--runtime", "onnxruntime-cpu", "tensorrt", "opencv-dnn"]
    assert main([*arguments, *wanted, "--out", "results/classifier.json"]) == 1
    output = capsys.readouterr().out
    report = read_report(Path("results/classifier.json"))
    rows = [dict(zip(report.tables[0].columns, row, strict=True)) for row in report.tables[0].rows]
    by_ort = [row for row in rows if row["runtime"] == "onnxruntime-cpu"]
    assert [(row["model"], row["threads"], row["batch"]) for row in by_ort] == [
        (f"{name} fp32", threads, batch) for threads in (1, 2) for name in ("plain", "opposite") for batch in (1, 4, 8)
    ]
    assert {row["agreement"] for row in by_ort if row["model"] == "plain fp32"} == {1}
    assert {row["agreement"] for row in by_ort if row["model"] == "opposite fp32"} == {0}
    assert all(row["n"] == (4 if row["batch"] == 1 else 3) and row["accuracy"] is None for row in rows)
    assert all(row["start-up s"] > 0 and row["memory MB"] >= 0 for row in rows)
    assert "left out: plain fp32 in tensorrt" in output
    assert output.splitlines()[-1].startswith("RESULT FAILED scenarios=classifier")
    assert report.conditions.versions["onnxruntime"]
    assert report.command.startswith("smartbin-bench classifier")


def test_torch_is_the_reference_where_a_run_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_timm_run(tmp_path)
    bundle = tmp_path / "bundle"
    assert export([str(run), "--precision", "fp32", "--out", str(bundle), "--limit", "6"]) == 0
    capsys.readouterr()
    arguments = ["--bundle", str(bundle), "--run", str(run), "--photos", str(tmp_path / "photos"), "--laps", "3"]
    names = tmp_path / "names.txt"
    names.write_text("glass-val1.png\nmetal-val2.png\npaper-val1.png\n", encoding="utf-8")
    wanted = ["--runtime", "torch-eager", "onnxruntime-cpu", "--device", "cpu", "--names", str(names)]
    assert main(["classifier", *arguments, *wanted, "--out", "x.json"]) == 0
    table = read_report(Path("x.json")).tables[0]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["runtime"] for row in rows] == ["torch-eager-cpu"] * 3 + ["onnxruntime-cpu"] * 3
    assert {row["agreement"] for row in rows} == {1}
    assert {row["ratio"] for row in rows[:3]} == {1}
    assert rows[0]["accuracy"] == rows[3]["accuracy"] in (0, 1 / 3, 2 / 3, 1)
    assert "3 photos below" in table.notes[1]


def test_a_runtime_that_cannot_be_opened_alone_is_an_error(
    photos: Path, two_bundles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--bundle", two_bundles[0], "--photos", str(photos), "--runtime", "tensorrt"]
    assert main(["classifier", *arguments]) == 2
    assert "no runtime could be opened" in capsys.readouterr().err


@pytest.mark.parametrize("real", [True, False], ids=["photo", "drawn frame"])
def test_preprocessing_is_compared_with_the_usual_ways(
    photos: Path, capsys: pytest.CaptureFixture[str], real: bool
) -> None:
    assert main(["preprocess", "--laps", "2", "--size", "64", *(["--photos", str(photos)] if real else [])]) == 0
    output = capsys.readouterr().out
    for way in ("smartbin to_input", "stage: crop, resize", "cv2.dnn.blobFromImage", "PIL + torchvision"):
        assert float(_cells(output, way)[3]) >= 0
    assert output.splitlines()[-1].startswith(
        "RESULT ok scenarios=preprocess rows=8 json=benchmarks/results/preprocess_"
    )


def test_accuracy_behind_each_way_stands_in_the_same_table(tmp_path: Path, photos: Path) -> None:
    """The tiny bundle tells colours: with their names as classes it is right behind every way."""
    bundle = write_tiny_bundle(tmp_path / "tiny", classes=("paper", "metal", "glass")).path
    arguments = ["preprocess", "--bundle", str(bundle), "--photos", str(photos), "--laps", "2", "--out", "x.json"]
    assert main(arguments) == 0
    (table,) = read_report(Path("x.json")).tables
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    for way in ("smartbin to_input", "cv2.dnn.blobFromImage", "PIL + torchvision"):
        assert (rows[way]["accuracy"], rows[way]["same answers"]) == (1, 1)
    assert rows["stage: crop, resize"]["accuracy"] is None
    assert "+0.0 points against PIL + torchvision" in table.notes[-1]


def test_a_folder_is_sorted_with_times_by_stage(
    photos: Path, two_bundles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["folder", "--bundle", two_bundles[0], "--photos", str(photos), "--limit", "10"]) == 0
    output = capsys.readouterr().out
    assert _cells(output, "classify")[1] == "10"
    assert float(_cells(output, "photos per second")[2]) > 0
    assert "plain fp32 on onnxruntime-cpu" in output


@pytest.mark.parametrize("scenario", ["classifier", "folder"])
def test_real_photos_are_asked_for(
    scenario: str, two_bundles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([scenario, "--bundle", two_bundles[0]]) == 2
    assert "--photos" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([scenario, "--bundle", two_bundles[0], "--photos", str(tmp_path / "empty")]) == 2
    assert "no photos" in capsys.readouterr().err


def _ticks(step_s: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step_s


def test_every_lap_runs_every_candidate_once_and_begins_with_another() -> None:
    order: list[str] = []
    ticks = _ticks(0.001)
    candidates = {name: timed(lambda name=name: order.append(name), lambda: next(ticks)) for name in "abc"}
    yardstick = Yardstick()
    samples = Laps(2, yardstick).run(candidates)
    laps = ["".join(order[start : start + 3]) for start in range(0, 15, 3)]
    assert laps == ["abc", "bca", "cab", "abc", "bca"]  # three of them to warm up
    assert all(len(taken) == 5 and min(taken) > 0 for taken in yardstick.samples_ms.values())
    assert {name: [round(value, 6) for value in values] for name, values in samples.items()} == {
        name: [1.0, 1.0] for name in "abc"
    }


def test_a_run_is_held_against_an_earlier_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["preprocess", "--laps", "8", "--size", "32"]
    assert main([*arguments, "--out", "base.json"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--out", "now.json", "--against", "base.json"]) == 0
    output = capsys.readouterr().out
    assert "### against base.json" in output
    assert _cells(output, "preprocess: smartbin to_input ")[-1] in ("faster", "slower", "no difference seen")
    assert "faster=" in output.splitlines()[-1]
    assert "### against base.json" in (tmp_path / "now.md").read_text(encoding="utf-8")


def test_a_baseline_of_another_machine_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", "--laps", "1", "--size", "32", "--out", "base.json"]) == 0
    file = tmp_path / "base.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"cpu": "', '"cpu": "Another ', 1), encoding="utf-8")
    assert main(["preprocess", "--laps", "1", "--against", "base.json"]) == 2
    assert "another machine" in capsys.readouterr().err


def test_no_laps_is_an_error() -> None:
    with pytest.raises(ValueError, match="laps must be 1 or more"):
        Laps(0, Yardstick())


def test_a_row_that_does_not_fit_its_columns_is_an_error() -> None:
    with pytest.raises(ValueError, match="must have 2 cells"):
        Table("s", ("a", "b"), ((1,),))


def test_a_table_as_markdown() -> None:
    table = Table("s", ("name", "ms"), (("x", 1.23456), ("y", None)), ("a note",))
    assert table.markdown() == "### s\n\n| name | ms |\n| --- | ---: |\n| x | 1.235 |\n| y | – |\n\n- a note\n"
