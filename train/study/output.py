"""A study's runs as `study.md` with `study.png`, `study.html` and `study.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from smartbin.atomic import write_text_atomic
from smartbin.wording import counted
from train.checkpoint import TrainedRun
from train.metrics import Score
from train.report.circumstances import Circumstances, circumstances_line, warning_of_differences
from train.report.document import Document, Section, Table, Text, duration
from train.report.document_html import to_html
from train.report.document_markdown import write_markdown
from train.report.figure_files import picture
from train.study.campaign import Variant
from train.study.findings import findings
from train.study.measure import Condition, Measurement, StudyRun
from train.study.plans import Study
from train.study.plots import draw_bars, draw_light, is_over_light
from train.study.source_probe import SourceProbe
from train.study.steadiness import highest_late_loss, largest_fall

STUDY_FILE, PAGE_FILE, CSV_FILE = "study.md", "study.html", "study.csv"
_COLUMNS = (
    *("run", "fold", "condition", "photos", "correct", "accuracy", "low", "high", "macro_f1", "loss"),
    *("seconds", "images_per_second"),
    *(
        "training_loss",
        "plain_training_loss",
        "gap",
        "plain_gap",
        "largest_fall",
        "highest_training_loss_after_epoch_1",
    ),
    *("source_from_features", "source_from_class", "source_chance"),
    *("precision", "hardware", "commit"),
)
"""After the times all is of the run, whatever the condition: its training loss, running and as validation photos are
scored, how far each is above the validation loss, how steadily it went, how well the source of a photo can be told."""
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
        alt=f"{study.name}: accuracy of {counted(len(runs), 'run')}; the table below has the figures",
        caption="Accuracy over light." if light else "Accuracy with Wilson's 95 % interval.",
    )
    table = _condition_table(runs, conditions) if wide else _run_table(runs, conditions)
    made = [(run.path.name, Circumstances.of(run)) for item in runs for run in item.runs]
    rows = {item.name for item in runs}
    told = findings(study.name, runs, whole=all(variant.row in rows for variant in missing))
    told = [*warning_of_differences(made), *told]
    if missing:
        names = "; ".join(variant.name for variant in missing)
        told.insert(0, Text(f"So far: not finished, and not in here: {names}."))
    return Document(
        study.question,
        f"Study {study.name}. Every run's settings: RUN/config.toml; all figures: {CSV_FILE}.",
        (),
        (Section("What the figures say", tuple(told)), Section("Figures", (table, plot))),
        footer=circumstances_line([circumstances for _, circumstances in made]),
    )


def study_csv(runs: Sequence[StudyRun]) -> str:
    """A line per run, fold and condition; recall per class in the last columns."""
    labels = list(dict.fromkeys(entry.label for item in runs for entry in item.runs[0].validation.per_class))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"recall({label})" for label in labels)])
    for item, fold, run, probe, measurement in _measurements(runs):
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
                *("" if value is None else f"{value:.4f}" for value in _course_figures(run)),
                *_probe_cells(probe),
                run.metrics.precision,
                run.metrics.device,
                run.git_commit or "",
                *("" if recalls.get(label) is None else f"{recalls[label]:.4f}" for label in labels),
            ]
        )
    return text.getvalue()


def _course_figures(run: TrainedRun) -> list[float | None]:
    """The figures of the run that `_COLUMNS` names after its times; None where there is none."""
    metrics, validation = run.metrics, run.validation.loss
    running = metrics.history[-1].train_loss if metrics.history else None
    gap = None if running is None else running - validation
    plain = metrics.train.loss
    return [running, plain, gap, plain - validation, largest_fall([run]), highest_late_loss([run])]


def _probe_cells(probe: SourceProbe | None) -> tuple[str, ...]:
    if probe is None:
        return ("", "", "")
    return (f"{probe.from_features:.4f}", f"{probe.from_class:.4f}", f"{probe.chance:.4f}")


def _measurements(
    runs: Sequence[StudyRun],
) -> Iterator[tuple[StudyRun, str, TrainedRun, SourceProbe | None, Measurement]]:
    """Everything that was measured, with the number of the fold, or nothing where there are none."""
    for item in runs:
        folds = [str(fold) for fold in item.folds] or [""]
        probes = item.probes or [None] * len(item.runs)
        for fold, run, probe, measurements in zip(folds, item.runs, probes, item.measurements, strict=True):
            for measurement in measurements:
                yield item, fold, run, probe, measurement


def _run_table(runs: Sequence[StudyRun], conditions: Sequence[str]) -> Table:
    """A row per run."""
    of = f" ({conditions[0]})" if len(conditions) > 1 else ""
    loss = "validation loss" if conditions[0] == Condition().name else f"loss{of}"
    columns = ("run", *conditions, f"macro F1{of}", "training loss", loss, "time", "images/s")
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
    """Accuracies: a row per condition and a column per run, or the other way round where there are more runs."""
    if len(runs) > len(conditions):
        names = ("run", *conditions)
        return Table("Accuracy", names, tuple((item.name, *_short_accuracies(item, conditions)) for item in runs))
    columns = [_short_accuracies(item, conditions) for item in runs]
    rows = zip(conditions, *columns, strict=True)
    return Table("Accuracy", ("condition", *(item.name for item in runs)), tuple(rows))


def _short_accuracies(item: StudyRun, conditions: Sequence[str]) -> list[str]:
    scores = [item.scores.get(condition) for condition in conditions]
    return ["–" if score is None else f"{score.accuracy:.3f}" for score in scores]


def _accuracy(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.accuracy:.3f} ({score.interval_low:.3f}–{score.interval_high:.3f})"
