"""Runs side by side, through the real entry point."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from smartbin.errors import CheckpointError
from tests.train.test_report import Page
from train.report.compare import compare, comparison_csv, differing_settings, short_paths
from train.report.plots_compare import draw_accuracies
from train.report.run_row import read_row
from train.run import main


@pytest.fixture
def pair(train_tiny: Callable[..., Path]) -> tuple[Path, Path]:
    """Two runs that differ in their seed and one setting of the recipe."""
    return train_tiny(name="plain"), train_tiny("--seed", "3", "--mixup", "0.4", "--threads", "1", name="mixed")


def test_comparison_agrees_with_the_runs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "side by side"
    before = {path: path.stat().st_mtime_ns for run in pair for path in run.iterdir()}
    assert main(["compare", *map(str, pair), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        *(f"compare.{kind}" for kind in ("csv", "html", "md", "png")),
        "compare_time.png",
    }
    assert {path: path.stat().st_mtime_ns for run in pair for path in run.iterdir()} == before

    lines = list(csv.DictReader((out / "compare.csv").read_text(encoding="utf-8").splitlines()))
    page = Page((out / "compare.html").read_text(encoding="utf-8"))
    markdown = (out / "compare.md").read_text(encoding="utf-8")
    assert [line["run"] for line in lines] == ["plain", "mixed"]
    for line, run in zip(lines, pair, strict=True):
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        found = json.loads((run / "report.json").read_text(encoding="utf-8"))
        assert float(line["accuracy"]) == metrics["val"]["accuracy"]
        assert float(line["calibration_error"]) == found["reliability"]["crossfitted"]
        assert line["caught"] == ""  # these runs measured no outsiders
        assert int(line["parameters"]) == 8 * 3 * 9 + 2 * 8 + 16 * 8 * 9 + 2 * 16 + 16 * 3 + 3
        for text in (page.text, markdown):
            assert f"{metrics['val']['accuracy']:.4f}" in text
            assert f"{metrics['val']['macro_f1']:.4f}" in text
    # only what differs, and nothing of the machine
    assert set(lines[0]) >= {"seed", "recipe.mixup"}
    assert not any(name.startswith(("machine", "recipe.batch", "out")) for name in lines[0])
    assert (lines[0]["seed"], lines[1]["seed"]) == ("0", "3")
    assert "recipe.mixup" in page.text
    assert "not validated on the same photos" in page.text  # another seed, another split


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["/data/a.pt", "/data/b.pt", "imagenet"], ["a.pt", "b.pt", "imagenet"]),
        (["/x/one/a.pt", "/x/two/a.pt", "/x/two/a.pt"], ["one/a.pt", "two/a.pt", "two/a.pt"]),
        (["0.5", "–"], ["0.5", "–"]),
    ],
)
def test_settings_show_as_much_of_a_path_as_tells_it_from_others(values: list[str], shown: list[str]) -> None:
    assert short_paths(values) == shown


def test_files_beside_the_runs_are_no_runs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """As a study's tables are, where its folder is named with a star."""
    table = tmp_path / "study.csv"
    table.write_text("run\n", encoding="ascii")
    assert main(["compare", str(pair[0]), str(table), "--out", str(tmp_path / "out")]) == 0
    assert main(["compare", str(table), "--out", str(tmp_path / "none")]) == 1


def test_page_of_a_comparison_stands_alone(pair: tuple[Path, Path], tmp_path: Path) -> None:
    compare(pair, tmp_path / "out")
    page = Page((tmp_path / "out" / "compare.html").read_text(encoding="utf-8"))
    links = [value for _, tag in page.tags for name, value in tag.items() if name in {"src", "srcset", "href"}]
    assert [link for link in links if not link.startswith(("data:image/", "#"))] == []
    said = [image["alt"] for image in page.of("img")]
    assert any("plain 0." in text for text in said)
    assert any("0.95 is reached by none" in text for text in said)


def test_same_run_twice_has_no_differing_setting(train_tiny: Callable[..., Path]) -> None:
    run = train_tiny()
    rows = [read_row(run, "a"), read_row(run, "b")]
    assert differing_settings(rows) == []
    assert len(comparison_csv(rows, [], 0.95).splitlines()) == 3
    heights = {line.get_ydata()[0] for line in draw_accuracies(rows).axes[0].lines}
    assert heights >= {0}


def test_runs_of_one_name_are_told_apart(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    first, second = train_tiny(name="one/run"), train_tiny(name="two/run")
    rows = compare([first, second], tmp_path / "out")
    assert [row.run for row in rows] == ["one/run", "two/run"]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda run: (run / "model.safetensors").unlink(), "has not finished"),
        (lambda run: (run / "metrics.json").write_text("{}"), "damaged"),
        (lambda run: (run / "config.toml").write_text("= 3"), "cannot read the run's settings"),
    ],
    ids=["unfinished", "damaged figures", "damaged settings"],
)
def test_run_that_cannot_be_compared_is_named(
    train_tiny: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    broken: Callable[[Path], object],
    says: str,
) -> None:
    run = train_tiny()
    broken(run)
    assert main(["compare", str(run), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().err
    assert says in printed
    assert str(run) in printed
    assert not (tmp_path / "out").exists()


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to compare"):
        compare([], tmp_path)


def test_time_to_an_accuracy_is_that_of_the_first_epoch_that_has_it(pair: tuple[Path, Path], tmp_path: Path) -> None:
    file = pair[0] / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    first = metrics["history"][0]
    courses = ((0.5, 3.0), (0.8, 6.0), (0.7, 3.0))
    metrics["history"] = [first | {"val_accuracy": reached, "seconds": seconds} for reached, seconds in courses]
    metrics["set_up_seconds"] = 2.0
    file.write_text(json.dumps(metrics), encoding="utf-8")
    out = tmp_path / "out"

    def lines(reach: str) -> list[dict[str, str]]:
        assert main(["compare", *map(str, pair), "--reach", reach, "--out", str(out)]) == 0
        return list(csv.DictReader((out / "compare.csv").read_text(encoding="utf-8").splitlines()))

    assert float(lines("0.5")[0]["seconds_to_0.5"]) == pytest.approx(2 + 3)
    assert float(lines("0.75")[0]["seconds_to_0.75"]) == pytest.approx(2 + 3 + 6)
    assert lines("0.99")[0]["seconds_to_0.99"] == ""
    assert "seconds of training to 0.99" in (out / "compare.md").read_text(encoding="utf-8")
    assert cv2.imread(str(out / "compare_time.png")) is not None


@pytest.mark.parametrize("reach", ["0", "1.1", "nan", "most"])
def test_accuracy_that_no_run_can_reach_is_refused(reach: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compare", "runs/a", "--reach", reach])
    assert stop.value.code == 2
    assert f"argument --reach: must be a number above 0, at most 1, but got '{reach}'" in capsys.readouterr().err
