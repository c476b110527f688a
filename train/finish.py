"""The end of a run: score every part, write weights, figures, predictions, plots and the report."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version

from smartbin.atomic import write_text_atomic
from train.checkpoint import METRICS_FILE, ModelRecord, save_model
from train.config import REPOSITORY
from train.delivery import describe_delivery
from train.machine import describe_device, precision_of
from train.metrics import Delivery, RunMetrics, score, score_sources
from train.ranks import rank
from train.report.final_scores import score_everything
from train.report.loss_parts import measure_loss_parts
from train.report.outputs import RunOutputs, save_outputs
from train.report.predictions import PREDICTIONS_FILE, predictions_csv
from train.report.report import write_report
from train.training import Training

COMMIT_VARIABLE = "SMARTBIN_COMMIT"
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless")


def finish(training: Training) -> RunMetrics:
    """Deliver the last epoch, or the best one if the recipe says so: that choice flatters the validation figures.

    `model.safetensors` is written last but for the report: where it is, the run is whole.
    """
    begun_s = time.monotonic()
    data = training.data
    if training.config.recipe.deliver == "best":
        training.average.load_state_dict(training.best)
    if training.config.recipe.blend:
        training.blended.blend(training.average, training.config.recipe.blend)
    outputs, train_outputs = score_everything(training)
    val_outputs, test_outputs = outputs.val.outputs, outputs.test.outputs if outputs.test else None
    metrics = RunMetrics(
        history=training.position.history,
        train=score(train_outputs, data.classes),
        val=score(val_outputs, data.classes),
        test=score(test_outputs, data.classes) if test_outputs else None,
        val_sources=score_sources(val_outputs, data.classes, [data.source_of(photo) for photo in data.val]),
        test_sources=score_sources(test_outputs, data.classes, [data.source_of(photo) for photo in data.test])
        if test_outputs
        else [],
        seconds=training.position.seconds + time.monotonic() - begun_s,
        set_up_seconds=training.position.set_up_seconds,
        device=describe_device(training.fabric.device),
        precision=precision_of(training.fabric),
        delivery=_delivery(training),
        loss_parts=measure_loss_parts(training) if rank() == 0 else None,
        software=_software(),
        starting_weights=_origin(training),
    )
    if rank() == 0:
        _write(training, metrics, outputs)
    return metrics


def _write(training: Training, metrics: RunMetrics, outputs: RunOutputs) -> None:
    data = training.data
    write_text_atomic(training.path / METRICS_FILE, metrics.model_dump_json(indent=1) + "\n")
    names = [data.name_of(photo) for photo in data.val]
    predictions = predictions_csv(names, data.val, outputs.val.outputs, data.classes)
    write_text_atomic(training.path / PREDICTIONS_FILE, predictions)
    save_outputs(training.path, outputs)
    save_model(training.path, training.average.state_dict(), _record(training))
    write_report(training.path)


def _origin(training: Training) -> str:
    """Where the weights come from: what was loaded, what is amiss with it, and whose answers were learnt."""
    names = ", ".join(training.teachers.names) if training.teachers else ""
    weights = training.weights
    start = training.config.recipe.describe_start()
    parts = (weights.summary(), start, weights.warning(training.frozen.entries))
    return "; ".join([*filter(None, parts), *([f"distilled from {names}"] if names else [])])


def _delivery(training: Training) -> Delivery:
    return describe_delivery(training.position.history, training.config.recipe, training.config.epochs)


def _record(training: Training) -> ModelRecord:
    config, architecture = training.config, training.architecture
    return ModelRecord(
        architecture=architecture.name,
        classes=training.data.classes,
        mean=architecture.mean,
        std=architecture.std,
        preprocess=config.preprocess,
        seed=config.seed,
        epochs=training.position.epoch,
        weights=training.weights.source,
        data=training.data.name,
        data_fingerprint=training.fingerprint,
        git_commit=git_commit(),
    )


def git_commit() -> str | None:
    """Commit of this checkout, with `+` if files were changed since; outside of one `SMARTBIN_COMMIT`, or None.

    Images and archives of the source have no history: who makes them (`train/cloud`) says which commit they are of.
    """
    head, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return head + ("+" if changed else "") if head else os.environ.get(COMMIT_VARIABLE) or None


def _git(*arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _software() -> str:
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)])
