"""Finished runs side by side: a table, a plot and a CSV of what they reached and of the settings in which they differ.

In: run directories. Out: `compare.html`, `compare.md`, `compare.csv` and two plots in a folder. Command
`smartbin-train compare`; every figure comes from the files of the runs, into which nothing is written.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from smartbin.arguments import accuracy
from smartbin.atomic import write_text_atomic
from smartbin.errors import CheckpointError
from smartbin.wording import counted
from train.console import say
from train.report.circumstances import circumstances_blocks, listed, unlike_circumstances
from train.report.document import Block, Document, Section, Table, Text, differing_columns
from train.report.document_html import to_html
from train.report.document_markdown import write_markdown
from train.report.figure_files import picture
from train.report.plots_compare import draw_accuracies, draw_courses
from train.report.run_row import RunRow, read_row

COMPARISON = "compare"
_REACH = 0.95
_MOST_COLUMNS = 5  # more runs than that become rows


def compare_command(arguments: Sequence[str]) -> int:
    """`smartbin-train compare RUN… --out DIR`."""
    parser = argparse.ArgumentParser(prog="train/run.py compare", description="Finished runs side by side.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder to write to (default: comparison)")
    parser.add_argument(
        "--reach",
        type=accuracy,
        default=_REACH,
        metavar="ACCURACY",
        help=f"say how long each run took to this validation accuracy (default: {_REACH:g})",
    )
    known = parser.parse_args(arguments)
    rows = compare(known.runs, known.out, known.reach)
    best = max(rows, key=lambda row: row.accuracy)
    say(f"{counted(len(rows), 'run')}; best on validation: {best.run}, {best.accuracy:.4f}")
    say(f"written: {known.out / COMPARISON}.html, .md, .png, .csv")
    return 0


def compare(runs: Sequence[Path], out: Path, reach: float = _REACH) -> list[RunRow]:
    """Write the comparison of one or more runs into the folder `out`; returns a row a run, in the order given.

    Raises `CheckpointError` for a run that is not finished or is damaged, before anything is written.
    """
    runs = [path for path in runs if not path.is_file()]  # `compare STUDY/*` names the study's tables, too
    if not runs:
        raise CheckpointError("nothing to compare", found="no runs", expected="one or more run directories")
    rows = [read_row(path, name) for path, name in zip(runs, _names(runs), strict=True)]
    differing = differing_settings(rows)
    out.mkdir(parents=True, exist_ok=True)
    document = comparison_document(rows, differing, reach)
    write_text_atomic(out / f"{COMPARISON}.csv", comparison_csv(rows, differing, reach))
    write_markdown(document, out / f"{COMPARISON}.md")
    write_text_atomic(out / f"{COMPARISON}.html", to_html(document))
    return rows


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as it takes to tell them apart."""
    paths, names = [path.resolve() for path in runs], [""] * len(runs)
    for parts in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def differing_settings(rows: Sequence[RunRow]) -> list[str]:
    """Dotted names of the settings that are not the same in all runs, as they stand in the files."""
    by_run = [dict(row.settings) for row in rows]
    names = dict.fromkeys(name for settings in by_run for name in settings)
    return [name for name in names if len({settings.get(name) for settings in by_run}) > 1]


def comparison_csv(rows: Sequence[RunRow], differing: Sequence[str], reach: float) -> str:
    """A line a run: the figures of `RunRow`, seconds to the accuracy `reach`, then the settings that differ."""
    names = [field.name for field in fields(RunRow) if field.name not in ("course", "settings")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, f"seconds_to_{reach:g}", *differing])
    for row in rows:
        settings = dict(row.settings)
        figures = [*(getattr(row, name) for name in names), row.seconds_to(reach)]
        writer.writerow([*("" if value is None else value for value in figures), *map(settings.get, differing)])
    return text.getvalue()


def comparison_document(rows: Sequence[RunRow], differing: Sequence[str], reach: float) -> Document:
    """The comparison for people."""
    quick = [row for row in rows if row.seconds_to(reach) is not None]
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
        *_subjects(rows),
        picture(
            f"{COMPARISON}_time",
            lambda: draw_courses(rows, reach),
            alt=f"Validation accuracy against seconds of training; {reach:g} is reached by "
            + ("; ".join(f"{row.run} after {row.seconds_to(reach):.0f} s" for row in quick) or "none"),
            caption="Validation accuracy after each epoch, against the time of training, with what was computed once "
            "before it (such as a frozen front) and without validation. It can be read where one machine made the runs "
            "and had nothing else to do.",
        ),
        _effort_table(rows, reach),
        *circumstances_blocks([(row.run, row.circumstances) for row in rows]),
    ]
    if len({(row.data, row.split, row.photos) for row in rows}) > 1:
        note = "These runs were not validated on the same photos: their accuracies are of different things."
        blocks.insert(1, Text(note))
    return Document(
        f"{counted(len(rows), 'run')} compared",
        "Accuracy is on each run's validation photos with Wilson's 95 % interval; the calibration error is after a "
        "cross-fitted temperature; other things held back are out-of-set pictures at the thresholds that keep 95 % of "
        "validation.",
        (),
        (Section("Results", tuple(blocks)), Section("Settings that differ", tuple(_settings_blocks(rows, differing)))),
    )  # fmt: skip


def _results_table(rows: Sequence[RunRow]) -> Table:
    columns = (
        "run", "accuracy", "95 % interval", "macro F1", "calibration error", "other things held back",
        "by feature distance", "test accuracy",
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
        )
        for row in rows
    )
    return Table("What the runs reached", columns, cells)


def _subjects(rows: Sequence[RunRow]) -> list[Block]:
    columns = (
        "run", "model", "parameters", "starting weights", "trained at", "tested at", "data", "split",
        "validation photos",
    )  # fmt: skip
    cells = tuple(
        (
            row.run,
            row.model,
            f"{row.parameters / 1e6:.2f} M",
            row.weights,
            f"{row.train_px} px",
            f"{row.test_px} px",
            row.data,
            row.split,
            str(row.photos),
        )
        for row in rows
    )
    return differing_columns("What was trained on what", columns, cells)


def _effort_table(rows: Sequence[RunRow], reach: float) -> Table:
    columns = ("run", "epochs", "seconds", "training photos a second", f"seconds of training to {reach:g}")
    cells = tuple(
        (
            row.run,
            str(row.epochs),
            f"{row.seconds:.0f}",
            f"{row.images_per_second:.1f}",
            _or_dash(row.seconds_to(reach), "{:.0f}"),
        )
        for row in rows
    )
    return Table("What they took", columns, cells)


def _settings_blocks(rows: Sequence[RunRow], differing: Sequence[str]) -> list[Block]:
    """The settings that differ; and whether what is left is chance, which takes the same code, precision and device."""
    unlike = unlike_circumstances([row.circumstances for row in rows])
    verb = "is" if len(unlike) == 1 else "are"
    made = f"{listed(unlike)} {verb} not, or not known to be, and may be what differs" if unlike else ""
    if not differing:
        return [Text(f"Every setting is the same; {made or 'what differs is chance'}.")]
    table = _settings_table(rows, differing) if len(rows) <= _MOST_COLUMNS else _changes_table(rows, differing)
    if not unlike:
        return [table]
    return [table, Text(f"These runs were not made alike beside that: {listed(unlike)} {verb} not, or not known to be, "
                        "the same.")]  # fmt: skip


def _settings_table(rows: Sequence[RunRow], differing: Sequence[str]) -> Table:
    """A column a run."""
    by_run = [dict(row.settings) for row in rows]
    cells = tuple((name, *short_paths([settings.get(name, "–") for settings in by_run])) for name in differing)
    return Table("Settings by run", ("setting", *(row.run for row in rows)), cells)


def _changes_table(rows: Sequence[RunRow], differing: Sequence[str]) -> Table:
    """A row a run, for more runs than stand side by side: in what it differs from the first."""
    table = _settings_table(rows, differing)
    cells = []
    for number, row in enumerate(rows[1:], 2):
        changes = [f"{line[0]} {line[number]}" for line in table.rows if line[number] != line[1]]
        cells.append((row.run, "; ".join(changes) or "nothing"))
    names = ", ".join(f"{line[0]} {line[1]}" for line in table.rows)
    first = (rows[0].run, f"here: {names}")
    return Table(f"In what they differ from {rows[0].run}", ("run", "settings"), (first, *cells))


def short_paths(values: Sequence[str]) -> list[str]:
    """The same, but absolute paths among them as short as it takes to tell them apart."""
    paths = [Path(value) for value in values if Path(value).is_absolute()]
    short = dict(zip(map(str, paths), _names(paths), strict=True))
    return [short.get(value, value) for value in values]


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
