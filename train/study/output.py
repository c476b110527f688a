"""A study's runs as `study.md` with `study.png`, `study.html` and `study.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from smartbin.atomic import write_text_atomic
from train.checkpoint import TrainedRun
from train.metrics import Score
from train.report.document import Document, Section, Table, Text, duration
from train.report.document_html import to_html
from train.report.document_markdown import write_markdown
from train.report.figure_files import picture
from train.study.campaign import Variant
from train.study.findings import findings
from train.study.measure import Measurement, StudyRun
from train.study.plans import Study
from train.study.plots import draw_bars, draw_light, is_over_light

STUDY_FILE, PAGE_FILE, CSV_FILE = "study.md", "study.html", "study.csv"
_COLUMNS = (
    *("run", "fold", "condition", "photos", "correct", "accuracy", "low", "high", "macro_f1", "loss"),
    *("seconds", "images_per_second"),
)
_MOST_COLUMNS = 4  # more conditions than that become rows


def write_study(study: Study, runs: Sequence[StudyRun], out: Path, missing: Sequence[Variant] = ()) -> Path:
    """Write table, plot and CSV into `out`; returns the path of `study.md`. `missing`: runs that are not finished."""
    document = study_document(study, runs, missing)
    write_text_atomic(out / CSV_FILE, study_csv(runs))
    write_text_atomic(out / PAGE_FILE, to_html(document))
    write_markdown(document, out / STUDY_FILE)
    return out / STUDY_FILE


def study_document(study: Study, runs: Sequence[StudyRun], missing: Sequence[Variant] = ()) -> Document:
    """The study for people."""
    conditions = list(dict.fromkeys(condition for item in runs for condition in item.scores))
    wide = len(conditions) > _MOST_COLUMNS
    light = is_over_light(conditions)
    plot = picture(
        "study",
        partial(draw_light, runs) if light else partial(draw_bars, runs, conditions),
        alt=f"{study.name}: accuracy of {len(runs)} runs; the table below has the figures",
        caption="Accuracy over light." if light else "Accuracy with Wilson's 95 % interval.",
    )
    table = _condition_table(runs, conditions) if wide else _run_table(runs, conditions)
    first = runs[0].runs[0]
    rows = {item.name for item in runs}
    told = findings(study.name, runs, whole=all(variant.row in rows for variant in missing))
    if missing:
        names = "; ".join(variant.name for variant in missing)
        told.insert(0, Text(f"So far: not finished, and not in here: {names}."))
    return Document(
        study.question,
        f"Study {study.name}. Every run's settings: RUN/config.toml; all figures: {CSV_FILE}.",
        (),
        (Section("What the figures say", tuple(told)), Section("Figures", (table, plot))),
        footer=f"{first.metrics.device}, {first.metrics.precision}; {first.metrics.software}; commit "
        f"{first.git_commit or 'not recorded'}.",
    )


def study_csv(runs: Sequence[StudyRun]) -> str:
    """A line per run, fold and condition; recall per class in the last columns."""
    labels = list(dict.fromkeys(entry.label for item in runs for entry in item.runs[0].validation.per_class))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"recall({label})" for label in labels)])
    for item, fold, run, measurement in _measurements(runs):
        figures = measurement.score
        recalls = {entry.label: entry.recall for entry in figures.per_class}
        values = (figures.accuracy, figures.interval_low, figures.interval_high, figures.macro_f1, figures.loss)
        writer.writerow(
            [
                item.name,
                fold,
                measurement.condition,
                figures.photos,
                figures.correct,
                *(f"{value:.4f}" for value in values),
                f"{run.metrics.seconds:.1f}",
                f"{run.metrics.images_per_second:.1f}",
                *("" if recalls.get(label) is None else f"{recalls[label]:.4f}" for label in labels),
            ]
        )
    return text.getvalue()


def _measurements(runs: Sequence[StudyRun]) -> Iterator[tuple[StudyRun, str, TrainedRun, Measurement]]:
    """Everything that was measured, with the number of the fold, or nothing where there are none."""
    for item in runs:
        folds = [str(fold) for fold in item.folds] or [""]
        for fold, run, measurements in zip(folds, item.runs, item.measurements, strict=True):
            for measurement in measurements:
                yield item, fold, run, measurement


def _run_table(runs: Sequence[StudyRun], conditions: Sequence[str]) -> Table:
    """A row per run."""
    columns = ("run", *conditions, "macro F1", "training loss", "loss", "time", "images/s")
    rows = []
    for item in runs:
        first = item.first
        accuracies = [_accuracy(item.scores.get(condition)) for condition in conditions]
        training = item.mean(lambda run: run.metrics.history[-1].train_loss)
        figures = (f"{first.macro_f1:.3f}", f"{training:.3f}", f"{first.loss:.3f}")
        speed = f"{item.mean(lambda run: run.metrics.images_per_second):.1f}"
        rows.append((item.name, *accuracies, *figures, duration(item.seconds), speed))
    return Table("Accuracy and what it took", columns, tuple(rows))


def _condition_table(runs: Sequence[StudyRun], conditions: Sequence[str]) -> Table:
    """A row per condition, a column per run: accuracies."""
    scores = [(condition, [item.scores.get(condition) for item in runs]) for condition in conditions]
    rows = [(name, *("–" if score is None else f"{score.accuracy:.3f}" for score in found)) for name, found in scores]
    return Table("Accuracy", ("condition", *(item.name for item in runs)), tuple(rows))


def _accuracy(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.accuracy:.3f} ({score.interval_low:.3f}–{score.interval_high:.3f})"
