"""`report.md` and its pictures, from what a run directory holds; made again by `train/run.py report RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smartbin.atomic import write_bytes_atomic, write_text_atomic
from smartbin.errors import CheckpointError
from smartbin.images import LabelledPhoto
from train.checkpoint import TrainedRun, load_run
from train.metrics import Score
from train.plots import confusion_png, curves_png, mistakes_png
from train.predictions import PhotoPrediction, read_predictions
from train.sources import PARTS

REPORT_FILE = "report.md"
CURVES_FILE, CONFUSION_FILE, MISTAKES_FILE = "curves.png", "confusion.png", "mistakes.png"
_SHOWN_MISTAKES = 24


def write_report(path: Path, data: Sequence[str] | Path | None = None) -> None:
    """Write the report of the run in `path`; `data` is where the photos are now, if they moved.

    Without the photos there is no gallery. Raises `CheckpointError` if the run is incomplete.
    """
    run = load_run(path)
    predictions = read_predictions(path)
    write_bytes_atomic(path / CURVES_FILE, curves_png(run.metrics))
    write_bytes_atomic(path / CONFUSION_FILE, confusion_png(run.validation))
    try:
        write_bytes_atomic(path / MISTAKES_FILE, mistakes_png(_worst(run, predictions, data)))
        gallery = f"![mistakes]({MISTAKES_FILE})"
    except CheckpointError as error:
        gallery = f"No gallery: {error.what}."
    write_text_atomic(path / REPORT_FILE, "\n\n".join(_sections(run, gallery)) + "\n")


def _worst(
    run: TrainedRun, predictions: list[PhotoPrediction], data: Sequence[str] | Path | None
) -> list[tuple[LabelledPhoto, PhotoPrediction]]:
    """The most confident mistakes on the validation photos."""
    pairs = zip(run.photos("val", data), predictions, strict=True)
    mistakes = [(photo, prediction) for photo, prediction in pairs if prediction.is_mistake]
    return sorted(mistakes, key=lambda pair: -pair[1].confidence)[:_SHOWN_MISTAKES]


def _sections(run: TrainedRun, gallery: str) -> list[str]:
    figures = run.validation
    return [
        f"# {run.architecture} on {run.data}",
        f"Validation accuracy **{figures.accuracy:.4f}** (95 % interval {figures.interval_low:.4f} to "
        f"{figures.interval_high:.4f}), macro F1 **{figures.macro_f1:.4f}**, {figures.photos} photos."
        + (f" {run.metrics.delivery.describe()}" if run.metrics.delivery else ""),
        _parts_table(run),
        "## Training loss and validation loss",
        _losses(run),
        f"![learning curves]({CURVES_FILE})",
        "## Classes (validation)",
        _class_table(figures),
        f"![confusion matrix]({CONFUSION_FILE})",
        f"## Most confident mistakes ({figures.photos - figures.correct} in all)",
        gallery,
        "## How it was made",
        _provenance(run),
    ]


def _parts_table(run: TrainedRun) -> str:
    metrics = run.metrics
    scores = {
        "train": metrics.train,
        "val": metrics.val,
        **{f"val, {entry.source} alone": entry.score for entry in metrics.val_sources},
        "test": metrics.test,
        **{f"test, {entry.source} alone": entry.score for entry in metrics.test_sources},
    }
    lines = [
        "| part | photos | accuracy | 95 % interval | macro F1 | loss |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for part, score in scores.items():
        if score is None:
            lines.append(f"| {part} | 0 | – | – | – | – |")
        else:
            interval = f"{score.interval_low:.4f} – {score.interval_high:.4f}"
            figures = f"{score.accuracy:.4f} | {interval} | {score.macro_f1:.4f} | {score.loss:.4f}"
            lines.append(f"| {part} | {score.photos} | {figures} |")
    notes = [f"\nNote: {note}." for note in run.split.notes]
    return "\n".join([*lines, "\nAll through the device preprocessing, without augmentation.", *notes])


def _losses(run: TrainedRun) -> str:
    last = run.metrics.history[-1]
    plain, validation = run.metrics.train.loss, run.validation.loss
    verdict = "above" if last.train_loss > validation else "below"
    return (
        "| loss (cross-entropy a photo) | |\n| --- | ---: |\n"
        f"| minimised: augmented, with label smoothing and the like, last epoch | {last.train_objective:.4f} |\n"
        f"| training photos, augmented, dropout on, last epoch | {last.train_loss:.4f} |\n"
        f"| training photos, not augmented, final weights | {plain:.4f} |\n"
        f"| validation photos, final weights | {validation:.4f} |\n\n"
        f"The running training loss is {verdict} the validation loss, by {last.train_loss - validation:+.4f}: "
        f"{last.train_loss - plain:+.4f} come from augmentation, regularisation and not yet averaged weights, "
        f"{plain - validation:+.4f} are the difference between training and validation photos on equal terms."
    )


def _class_table(score: Score) -> str:
    lines = ["| class | photos | precision | recall | F1 |", "| --- | ---: | ---: | ---: | ---: |"]
    for entry in score.per_class:
        figures = (entry.precision, entry.recall, entry.f1)
        cells = " | ".join("–" if figure is None else f"{figure:.3f}" for figure in figures)
        lines.append(f"| {entry.label} | {entry.photos} | {cells} |")
    return "\n".join(lines)


def _provenance(run: TrainedRun) -> str:
    metrics, spec = run.metrics, run.preprocess
    speeds = [epoch.images_per_second for epoch in metrics.history]
    facts = {
        "starting weights": metrics.starting_weights or run.weights,
        "data": f"{run.data}, split {run.split.split}, fingerprint `{run.data_fingerprint[:16]}`",
        "photos": ", ".join(f"{part} {len(run.split.parts[part])}" for part in PARTS),
        "network input": f"{spec.size} px, brightness correction {'on' if spec.brightness.enabled else 'off'}",
        "seed": str(run.seed),
        "time": f"{metrics.seconds / 60:.1f} minutes, {sum(speeds) / len(speeds):.1f} training photos a second",
        "hardware": f"{metrics.device}, {metrics.precision}",
        "software": metrics.software,
        "commit": run.git_commit or "not a git checkout",
        "settings": "`config.toml`; every validation photo: `predictions.csv`; all figures: `metrics.json`",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)
