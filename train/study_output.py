"""A study's runs as `study.md`, `study.csv` and `study.png`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from smartbin.atomic import write_bytes_atomic, write_text_atomic
from train.checkpoint import TrainedRun
from train.metrics import Score
from train.study_findings import findings
from train.study_measure import StudyRun
from train.study_plans import Study
from train.study_plots import bars_png, light_png

STUDY_FILE, CSV_FILE, PLOT_FILE = "study.md", "study.csv", "study.png"
_COLUMNS = (
    *("run", "condition", "photos", "correct", "accuracy", "low", "high", "macro_f1", "loss"),
    *("seconds", "images_per_second"),
)
_MOST_COLUMNS = 4  # more conditions than that become rows


def write_study(study: Study, runs: Sequence[StudyRun], out: Path) -> Path:
    """Write table, plot and CSV into `out`; returns the path of `study.md`."""
    conditions = list(dict.fromkeys(condition for item in runs for condition in item.scores))
    wide = len(conditions) > _MOST_COLUMNS
    table = _condition_table(runs, conditions) if wide else _run_table(runs, conditions)
    write_bytes_atomic(out / PLOT_FILE, light_png(runs) if wide else bars_png(runs, conditions))
    write_text_atomic(out / CSV_FILE, study_csv(runs))
    first = runs[0].run
    sections = [
        f"# {study.question}",
        *findings(study.name, runs),
        table,
        f"![{study.name}]({PLOT_FILE})",
        f"{first.metrics.device}, {first.metrics.precision}; {first.metrics.software}; commit "
        f"{first.git_commit or 'not recorded'}. Every run's settings: `RUN/config.toml`; all figures: `{CSV_FILE}`.",
    ]
    write_text_atomic(out / STUDY_FILE, "\n\n".join(sections) + "\n")
    return out / STUDY_FILE


def study_csv(runs: Sequence[StudyRun]) -> str:
    """A line per run and condition; recall per class in the last columns."""
    labels = list(dict.fromkeys(entry.label for item in runs for entry in item.run.validation.per_class))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"recall({label})" for label in labels)])
    for item in runs:
        for measurement in item.measurements:
            figures = measurement.score
            recalls = {entry.label: entry.recall for entry in figures.per_class}
            values = (figures.accuracy, figures.interval_low, figures.interval_high, figures.macro_f1, figures.loss)
            writer.writerow(
                [
                    item.name,
                    measurement.condition,
                    figures.photos,
                    figures.correct,
                    *(f"{value:.4f}" for value in values),
                    f"{item.run.metrics.seconds:.1f}",
                    f"{_speed(item.run):.1f}",
                    *("" if recalls.get(label) is None else f"{recalls[label]:.4f}" for label in labels),
                ]
            )
    return text.getvalue()


def _run_table(runs: Sequence[StudyRun], conditions: Sequence[str]) -> str:
    """A row per run."""
    head = ["run", *conditions, "macro F1", "training loss", "loss", "minutes", "images/s"]
    rows = []
    for item in runs:
        first = item.measurements[0].score
        accuracies = [_accuracy(item.scores.get(condition)) for condition in conditions]
        last = item.run.metrics.history[-1]
        figures = (f"{first.macro_f1:.3f}", f"{last.train_loss:.3f}", f"{first.loss:.3f}")
        rows.append(
            [item.name, *accuracies, *figures, f"{item.run.metrics.seconds / 60:.1f}", f"{_speed(item.run):.1f}"]
        )
    return _markdown(head, rows)


def _condition_table(runs: Sequence[StudyRun], conditions: Sequence[str]) -> str:
    """A row per condition, a column per run: accuracies."""
    rows = [[condition, *(f"{item.score(condition).accuracy:.3f}" for item in runs)] for condition in conditions]
    return _markdown(["accuracy", *(item.name for item in runs)], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _accuracy(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.accuracy:.3f} ({score.interval_low:.3f}–{score.interval_high:.3f})"


def _speed(run: TrainedRun) -> float:
    """Training photos a second, mean over the epochs."""
    speeds = [epoch.images_per_second for epoch in run.metrics.history]
    return sum(speeds) / len(speeds)
