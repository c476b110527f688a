"""Runs side by side, through the real entry point."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from smartbin.errors import CheckpointError
from tests.train.test_report import Page
from train.report.compare import compare, comparison_csv, comparison_document, differing_settings, short_paths
from train.report.document_markdown import to_markdown
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


def with_figures(run: Path, **figures: object) -> Path:
    """The run, as if it had recorded these in its `metrics.json`."""
    file = run / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | figures), encoding="utf-8")
    return run


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({}, "Every setting is the same; what differs is chance."),
        ({"hardware": "AMD EPYC, 8 threads"}, "what differs is chance."),
        ({"precision": "bf16-mixed"}, "the same; precision is not, or not known to be, and may be what differs."),
        ({"hardware": "NVIDIA H100", "commit": "b" * 40}, "the same; hardware and commit are not, or not known to be"),
        ({"commit": "a" * 40 + "+"}, "the same; commit is not"),
    ],
    ids=["alike", "more threads", "another precision", "other device and code", "changed code"],
)
def test_difference_is_called_chance_only_between_runs_that_were_made_alike(
    train_tiny: Callable[..., Path], other: dict[str, str], says: str
) -> None:
    made = {"precision": "32-true", "hardware": "AMD EPYC, 1 thread", "commit": "a" * 40}
    first = replace(read_row(train_tiny(), "a"), **made)
    document = comparison_document([first, replace(first, run="b", **other)], [], 0.95)
    text = to_markdown(document)
    assert says in text
    assert all(value[:12] in text for value in (made | other).values())


def test_unknown_code_is_not_called_the_same(train_tiny: Callable[..., Path]) -> None:
    row = replace(read_row(train_tiny(), "a"), commit="not recorded")
    assert "commit is not, or not known to be" in to_markdown(comparison_document([row, row], [], 0.95))


def test_precision_of_each_run_is_shown(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Through the entry point: settings of the machine are none that differ, but what they made of it is told."""
    runs = [train_tiny(name="one"), with_figures(train_tiny(name="two"), precision="bf16-mixed")]
    compare(runs, tmp_path / "out")
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "| one | 32-true |" in text
    assert "| two | bf16-mixed |" in text
    assert "what differs is chance" not in text
    lines = list(csv.DictReader((tmp_path / "out" / "compare.csv").read_text(encoding="utf-8").splitlines()))
    assert [line["precision"] for line in lines] == ["32-true", "bf16-mixed"]


def test_sizes_are_those_that_the_architecture_resolved(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    """The tiny network's own sizes are 32 px: saying so is no difference."""
    runs = [train_tiny(name="its own"), train_tiny("--train-size", "32", "--test-size", "48", name="said")]
    rows = compare(runs, tmp_path / "out")
    assert differing_settings(rows) == ["test_size"]
    assert [(row.train_px, row.test_px) for row in rows] == [(32, 32), (32, 48)]
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "| test_size | 32 | 48 |" in text


def test_many_runs_are_rows_of_the_settings_table(train_tiny: Callable[..., Path]) -> None:
    row = read_row(train_tiny(), "first")
    rows = [
        replace(row, run=f"run {number}", settings=(("seed", str(number)), ("epochs", str(number // 4))))
        for number in range(7)
    ]
    text = to_markdown(comparison_document(rows, differing_settings(rows), 0.95))
    assert "| run 3 | seed 3 |" in text
    assert "| run 6 | seed 6; epochs 1 |" in text


def test_one_run_is_not_called_runs(
    train_tiny: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(train_tiny()), "--out", str(tmp_path / "out")]) == 0
    assert "1 run; best" in capsys.readouterr().out
    assert (tmp_path / "out" / "compare.md").read_text(encoding="utf-8").startswith("# 1 run compared")


def test_axis_of_the_accuracies_says_what_they_are(train_tiny: Callable[..., Path]) -> None:
    figure = draw_accuracies([read_row(train_tiny(), "a")])
    assert figure.axes[0].get_xlabel() == "accuracy on validation photos"
