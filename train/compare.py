"""Finished runs side by side: a table, a plot and a CSV of what they reached and of the settings in which they differ.

In: run directories. Out: `compare.html`, `compare.md`, `compare.png` and `compare.csv` in a folder. Command
`smartbin-train compare`; every figure comes from the files of the runs, into which nothing is written.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from matplotlib.figure import Figure
from safetensors import safe_open

from smartbin.atomic import write_text_atomic
from smartbin.errors import CheckpointError
from train.checkpoint import MODEL_FILE, TrainedRun, load_run
from train.console import say
from train.document import Block, Document, Section, Table, Text
from train.document_html import to_html
from train.document_markdown import write_markdown
from train.figure_files import picture
from train.findings import Findings, find, outputs_if_kept
from train.report_training import settings_of

COMPARISON = "compare"
_NOT_SETTINGS = ("out", "data_root", "machine.")  # change nothing in the result
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: accuracy and macro F1 on validation, the rest as in its report. None is what it did not measure."""

    run: str
    model: str
    data: str
    split: str
    photos: int
    accuracy: float
    interval_low: float
    interval_high: float
    macro_f1: float
    test_accuracy: float | None
    calibration_error: float | None
    """Cross-fitted, after the temperature."""
    caught: float | None
    """Part of the out-of-set pictures that the thresholds of a bundle hold back."""
    caught_by_distance: float | None
    """The same by distance in feature space alone."""
    epochs: int
    seconds: float
    images_per_second: float
    """Training, mean over the epochs."""
    parameters: int
    weights: str
    commit: str | None
    settings: tuple[tuple[str, str], ...]
    """Every setting of the run, by dotted name."""


def compare_command(arguments: Sequence[str]) -> int:
    """`smartbin-train compare RUN… --out DIR`."""
    parser = argparse.ArgumentParser(prog="train/run.py compare", description="Finished runs side by side.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder to write to (default: comparison)")
    known = parser.parse_args(arguments)
    rows = compare(known.runs, known.out)
    best = max(rows, key=lambda row: row.accuracy)
    say(f"{len(rows)} runs; best on validation: {best.run}, {best.accuracy:.4f}")
    say(f"written: {known.out / COMPARISON}.html, .md, .png, .csv")
    return 0


def compare(runs: Sequence[Path], out: Path) -> list[RunRow]:
    """Write the comparison of one or more runs into the folder `out`; returns a row a run, in the order given.

    Raises `CheckpointError` for a run that is not finished or is damaged, before anything is written.
    """
    if not runs:
        raise CheckpointError("nothing to compare", found="no runs", expected="one or more run directories")
    rows = [read_row(path, name) for path, name in zip(runs, _names(runs), strict=True)]
    differing = differing_settings(rows)
    out.mkdir(parents=True, exist_ok=True)
    document = comparison_document(rows, differing)
    write_text_atomic(out / f"{COMPARISON}.csv", comparison_csv(rows, differing))
    write_markdown(document, out / f"{COMPARISON}.md")
    write_text_atomic(out / f"{COMPARISON}.html", to_html(document))
    return rows


def read_row(path: Path, name: str) -> RunRow:
    """The row of the run in `path`, called `name`."""
    run = load_run(path)
    findings, score = _findings(path), run.validation
    distance = findings.catch("feature distance alone") if findings else None
    speeds = [record.images_per_second for record in run.metrics.history]
    return RunRow(
        run=name,
        model=run.architecture,
        data=run.data,
        split=run.split.split,
        photos=score.photos,
        accuracy=score.accuracy,
        interval_low=score.interval_low,
        interval_high=score.interval_high,
        macro_f1=score.macro_f1,
        test_accuracy=run.metrics.test.accuracy if run.metrics.test else None,
        calibration_error=findings.reliability.crossfitted if findings else None,
        caught=findings.catches[0].caught if findings and findings.catches else None,
        caught_by_distance=distance.caught if distance else None,
        epochs=run.epochs,
        seconds=run.metrics.seconds,
        images_per_second=sum(speeds) / len(speeds) if speeds else 0.0,
        parameters=_count_parameters(path / MODEL_FILE),
        weights=run.weights,
        commit=run.git_commit,
        settings=_settings(run),
    )


def _count_parameters(weights: Path) -> int:
    """Numbers that were learned, from the file's table of contents; batch-norm statistics are none."""
    with safe_open(weights, framework="pt") as opened:
        names = [name for name in opened.keys() if not name.endswith(_BUFFERS)]  # noqa: SIM118
        return sum(math.prod(opened.get_slice(name).get_shape()) for name in names)


def _findings(path: Path) -> Findings | None:
    outputs = outputs_if_kept(path)
    return None if outputs is None else find(outputs)


def _settings(run: TrainedRun) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in settings_of(run.path) if not name.startswith(_NOT_SETTINGS))


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as it takes to tell them apart."""
    paths = [path.resolve() for path in runs]
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def differing_settings(rows: Sequence[RunRow]) -> list[str]:
    """Dotted names of the settings that are not the same in all runs, as they stand in the files."""
    by_run = [dict(row.settings) for row in rows]
    names = dict.fromkeys(name for settings in by_run for name in settings)
    return [name for name in names if len({settings.get(name) for settings in by_run}) > 1]


def comparison_csv(rows: Sequence[RunRow], differing: Sequence[str]) -> str:
    """A line a run: the fields of `RunRow`, then the settings that differ."""
    names = [field.name for field in fields(RunRow) if field.name != "settings"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *differing])
    for row in rows:
        settings = dict(row.settings)
        figures = [getattr(row, name) for name in names]
        writer.writerow([*("" if value is None else value for value in figures), *map(settings.get, differing)])
    return text.getvalue()


def comparison_document(rows: Sequence[RunRow], differing: Sequence[str]) -> Document:
    """The comparison for people."""
    blocks: list[Block] = [
        picture(
            COMPARISON,
            lambda: draw_accuracies(rows),
            alt="Validation accuracy with 95 % intervals: "
            + "; ".join(
                f"{row.run} {row.accuracy:.4f} ({row.interval_low:.3f} to {row.interval_high:.3f})" for row in rows
            ),
            caption="Validation accuracy and macro F1. Where intervals overlap widely, the runs cannot be told apart.",
        ),
        _results_table(rows),
        _effort_table(rows),
    ]
    if len({(row.data, row.split, row.photos) for row in rows}) > 1:
        note = "These runs were not validated on the same photos: their accuracies are of different things."
        blocks.insert(1, Text(note))
    settings = [
        _settings_table(rows, differing) if differing else Text("Every setting is the same; what differs is chance."),
    ]
    return Document(
        f"{len(rows)} runs compared",
        "Accuracy is on each run's validation photos with Wilson's 95 % interval; the calibration error is after a "
        "cross-fitted temperature; other things held back are out-of-set pictures at the thresholds that keep 95 % of "
        "validation.",
        (),
        (Section("Results", tuple(blocks)), Section("Settings that differ", tuple(settings))),
    )  # fmt: skip


def _results_table(rows: Sequence[RunRow]) -> Table:
    columns = (
        "run", "accuracy", "95 % interval", "macro F1", "calibration error", "other things held back",
        "by feature distance", "test accuracy", "model", "data", "split", "validation photos",
    )  # fmt: skip
    cells = tuple(
        (
            row.run,
            f"{row.accuracy:.4f}",
            f"{row.interval_low:.4f} – {row.interval_high:.4f}",
            f"{row.macro_f1:.4f}",
            _or_dash(row.calibration_error, "{:.3f}"),
            _or_dash(row.caught, "{:.1%}"),
            _or_dash(row.caught_by_distance, "{:.1%}"),
            _or_dash(row.test_accuracy, "{:.4f}"),
            row.model,
            row.data,
            row.split,
            str(row.photos),
        )
        for row in rows
    )
    return Table("What the runs reached", columns, cells)


def _effort_table(rows: Sequence[RunRow]) -> Table:
    columns = ("run", "epochs", "seconds", "training photos a second", "parameters", "starting weights", "commit")
    cells = tuple(
        (
            row.run,
            str(row.epochs),
            f"{row.seconds:.0f}",
            f"{row.images_per_second:.1f}",
            f"{row.parameters / 1e6:.2f} M",
            row.weights,
            (row.commit or "–")[:12],
        )
        for row in rows
    )
    return Table("What they took", columns, cells)


def _settings_table(rows: Sequence[RunRow], differing: Sequence[str]) -> Table:
    by_run = [dict(row.settings) for row in rows]
    cells = tuple((name, *(settings.get(name, "–") for settings in by_run)) for name in differing)
    return Table("Settings by run", ("setting", *(row.run for row in rows)), cells)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def draw_accuracies(rows: Sequence[RunRow]) -> Figure:
    """Accuracy with its interval and macro F1, a line a run, the first on top."""
    figure = Figure(figsize=(8.2, 1.5 + 0.42 * len(rows)))
    longest = max(len(row.run) for row in rows)
    figure.subplots_adjust(left=min(0.5, 0.04 + 0.0085 * longest), right=0.98, bottom=0.55 / figure.get_figheight(),
                           top=1 - 0.35 / figure.get_figheight())  # fmt: skip
    axes = figure.subplots()
    places = range(len(rows))
    accuracies = [row.accuracy for row in rows]
    spread = [
        [row.accuracy - row.interval_low for row in rows],
        [row.interval_high - row.accuracy for row in rows],
    ]
    axes.errorbar(accuracies, places, xerr=spread, fmt="o", color="C0", capsize=3, label="accuracy, 95 % interval")
    axes.plot([row.macro_f1 for row in rows], places, "|", color="C1", markersize=12, label="macro F1")
    axes.set_yticks(places, [row.run for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("validation photos")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, frameon=False)
    return figure
