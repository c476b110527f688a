"""`report.md` and `report.html` of a run, from what its directory holds; made again by `train/run.py report RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smartbin.atomic import write_text_atomic
from smartbin.calibration import wilson_interval
from smartbin.errors import CheckpointError
from smartbin.images import LabelledPhoto
from smartbin.wording import counted
from train.checkpoint import TrainedRun, load_run
from train.cli import parse_report
from train.console import say
from train.metrics import Score
from train.report.course import loss_section, provenance_section, sizes_of, speed_section
from train.report.document import Block, Document, Headline, Section, Table, Text, duration
from train.report.document_html import to_html
from train.report.document_markdown import write_markdown
from train.report.doubt import doubt_sections
from train.report.findings import FINDINGS_FILE, Findings, find, outputs_if_kept
from train.report.gallery import gallery
from train.report.predictions import PhotoPrediction, read_predictions

REPORT_FILE, PAGE_FILE = "report.md", "report.html"
_SHOWN_MISTAKES, _SHOWN_DOUBTS = 24, 6


def report_command(arguments: Sequence[str]) -> int:
    """The command `report RUN`; the exit code."""
    command = parse_report(arguments)
    write_report(command.run, command.data)
    say(f"written: {command.run / REPORT_FILE}")
    return 0


def write_report(path: Path, data: Sequence[str] | Path | None = None) -> None:
    """Write the report of the run in `path`; `data` is where the photos are now, if they moved.

    Without the photos there is no gallery, without `outputs.npz` nothing on doubt. Raises `CheckpointError` if the run
    is incomplete.
    """
    document, findings = build_report(path, data)
    if findings is not None:
        write_text_atomic(path / FINDINGS_FILE, findings.model_dump_json(indent=1) + "\n")
    write_markdown(document, path / REPORT_FILE)
    write_text_atomic(path / PAGE_FILE, to_html(document))


def build_report(path: Path, data: Sequence[str] | Path | None = None) -> tuple[Document, Findings | None]:
    """The report of a run, and the figures that it computed on the way."""
    run = load_run(path)
    predictions = read_predictions(path)
    outputs = outputs_if_kept(path)
    findings = None if outputs is None else find(outputs)
    sections = [_parts_section(run), _class_section(run.validation)]
    if outputs is not None and findings is not None:
        sections += doubt_sections(outputs, findings)
    if run.metrics.history:
        sections.append(loss_section(run))
    sections += _photo_sections(run, predictions, data)
    if (speed := speed_section(run)) is not None:
        sections.append(speed)
    sections.append(provenance_section(run))
    notes = run.split.notes
    if outputs is None:
        notes = (*notes, "this run was made before logits were kept: nothing on calibration and rejection")
    summary = (
        f"Trained for {_epochs(run)} on {len(run.split.parts['train'])} photos and measured on "
        f"{run.validation.photos} validation photos; {sizes_of(run)}."
    )
    if run.metrics.delivery:
        summary += f" {run.metrics.delivery.describe()}"
    title = f"{run.architecture} on {run.data}"
    return Document(title, summary, _headlines(run, findings), tuple(sections), notes=notes), findings


def _headlines(run: TrainedRun, findings: Findings | None) -> tuple[Headline, ...]:
    score = run.validation
    interval = f"95 % interval {score.interval_low:.4f} to {score.interval_high:.4f}"
    found = [
        Headline("Validation accuracy", f"{score.accuracy:.4f}", interval),
        Headline("Macro F1", f"{score.macro_f1:.4f}", "mean over the classes, each counting the same"),
    ]
    if findings is not None:
        reliability, acceptance = findings.reliability, findings.acceptance
        note = f"cross-fitted temperature; {reliability.before:.3f} without"
        found.append(Headline("Calibration error", f"{reliability.crossfitted:.3f}", note))
        note = f"of the {acceptance.kept:.1%} that are answered"
        found.append(Headline("Right when sure", f"{acceptance.accuracy:.4f}", note))
        if findings.catches:
            catch = findings.catches[0]
            found.append(Headline("Other things held back", f"{catch.caught:.1%}", "at the same thresholds"))
    return (*found, Headline("Time", duration(run.metrics.seconds), f"{_epochs(run)} on {run.metrics.device}"))


def _epochs(run: TrainedRun) -> str:
    return counted(run.epochs, "epoch")


def _parts_section(run: TrainedRun) -> Section:
    metrics = run.metrics
    scores = {
        "train": metrics.train,
        "val": metrics.val,
        **{f"val, {entry.source} alone": entry.score for entry in metrics.val_sources},
        "test": metrics.test,
        **{f"test, {entry.source} alone": entry.score for entry in metrics.test_sources},
    }
    columns = ("part", "photos", "accuracy", "95 % interval", "macro F1", "loss")
    rows = tuple(_part_row(part, score) for part, score in scores.items())
    note = "All through the device preprocessing, without augmentation. Intervals are Wilson's."
    return Section("Accuracy", (Table("Every part of the data", columns, rows), Text(note, quiet=True)))


def _part_row(part: str, score: Score | None) -> tuple[str, ...]:
    if score is None:
        return (part, "0", "–", "–", "–", "–")
    interval = f"{score.interval_low:.4f} – {score.interval_high:.4f}"
    return (
        part, str(score.photos), f"{score.accuracy:.4f}", interval, f"{score.macro_f1:.4f}", f"{score.loss:.4f}",
    )  # fmt: skip


def _class_section(score: Score) -> Section:
    names = tuple(entry.label for entry in score.per_class)
    claimed = [sum(row[index] for row in score.confusion) for index in range(len(names))]
    rows = tuple(
        (
            entry.label,
            str(entry.photos),
            _share(score.confusion[index][index], entry.photos),
            _share(score.confusion[index][index], claimed[index]),
            "–" if entry.f1 is None else f"{entry.f1:.3f}",
        )
        for index, entry in enumerate(score.per_class)
    )
    confusion = tuple(
        (f"{name} ({sum(row)})", *map(str, row)) for name, row in zip(names, score.confusion, strict=True)
    )
    heat = tuple(tuple(count / max(1, sum(row)) for count in row) for row in score.confusion)
    return Section(
        "Classes",
        (
            Table(
                "Validation photos of each class, with 95 % intervals",
                ("class", "photos", "recognised (recall)", "right when named (precision)", "F1"),
                rows,
            ),
            Table("Confusion: photos of the class on the left, taken for the one above", ("true class", *names),
                  confusion, heat),
        ),
    )  # fmt: skip


def _share(part: int, whole: int) -> str:
    if not whole:
        return "–"
    low, high = wilson_interval(part, whole)
    return f"{part / whole:.3f} ({low:.3f} – {high:.3f})"


def _photo_sections(
    run: TrainedRun, predictions: list[PhotoPrediction], data: Sequence[str] | Path | None
) -> list[Section]:
    """The most confident mistakes and the least confident right answers; a note instead where the photos are gone."""
    mistakes = run.validation.photos - run.validation.correct
    title = f"Most confident mistakes ({mistakes} in all)"
    try:
        photos = run.photos("val", data)
    except CheckpointError as error:
        return [Section(title, (Text(f"No gallery: {error.what}."),))]
    pairs = list(zip(photos, predictions, strict=True))
    wrong = sorted((pair for pair in pairs if pair[1].is_mistake), key=lambda pair: -pair[1].confidence)
    right = sorted((pair for pair in pairs if not pair[1].is_mistake), key=lambda pair: pair[1].confidence)
    return [
        Section(title, _gallery("mistakes", wrong[:_SHOWN_MISTAKES])),
        Section("Least confident right answers", _gallery("doubts", right[:_SHOWN_DOUBTS])),
    ]


def _gallery(name: str, shown: list[tuple[LabelledPhoto, PhotoPrediction]]) -> tuple[Block, ...]:
    note = "What the photo is → what it was taken for, with the confidence before the temperature."
    return gallery(name, shown), Text(note, quiet=True)
