"""How good a finished run is on other photos, or in another light. Command `train/run.py evaluate`.

Everything goes through the device preprocessing, in float32. Darkness is simulated by `smartbin.lowlight` on the whole
photo before it is shrunk, with sensor noise; it is the noise model that the augmentation uses, with other seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table
from torch import nn

from smartbin.atomic import write_text_atomic
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto
from train.architectures import architecture_of
from train.checkpoint import TrainedRun, load_run, read_record
from train.config import Machine
from train.inference import DevicePreparation, classify
from train.lighting import Light
from train.loader import PhotoSamples
from train.machine import open_fabric, worker_count
from train.metrics import Score, score
from train.photos import Part, class_folders, read_class_folders
from train.reading import PhotoStore, open_photos

EVALUATION_FILE = "evaluation.json"
_PIPED_WIDTH = 128


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LightScore(_Record):
    """The figures at a part of the light; 1 is the photos as they are, above it they are over-exposed."""

    light: float
    score: Score


class Evaluation(_Record):
    """A run on a set of photos."""

    data: str
    """Path of the folder, or the name of a part of the run's own data."""
    levels: list[LightScore]


class EvaluationFile(_Record):
    """`evaluation.json`: one entry per set of photos; measuring again replaces it."""

    evaluations: list[Evaluation]


def evaluate(
    path: Path, *, data: Path | None, part: Part, lights: Sequence[float], machine: Machine, out: Path | None = None
) -> Evaluation:
    """Score the run in `path` on the class folders of `data`, or without it on the run's own `part`, at each light.

    `data` may lack classes of the run, but has none that the run does not know (`DataError`). Prints a table and writes
    `evaluation.json` into the run, or to `out`.
    """
    conditions = [Light(exposure=light) for light in lights]
    run = load_run(path)
    photos = _folder_photos(data, run) if data else run.photos(part)
    if not photos:
        raise DataError("no photos to evaluate on", where=data or f"the run's {part} part", expected="one or more")
    store = open_photos(photos, machine)
    fabric = open_fabric(machine)
    model = run.build_model().to(fabric.device)
    levels = [
        LightScore(light=light.exposure, score=_score(run, model, photos, store, light, fabric, machine))
        for light in conditions
    ]
    evaluation = Evaluation(data=str(data.resolve()) if data else f"{part} part of {run.data}", levels=levels)
    _write(out or path / EVALUATION_FILE, evaluation)
    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(_table(run, evaluation))
    return evaluation


def _score(
    run: TrainedRun,
    model: nn.Module,
    photos: Sequence[LabelledPhoto],
    store: PhotoStore,
    light: Light,
    fabric: Fabric,
    machine: Machine,
) -> Score:
    samples = PhotoSamples(photos, run.classes, store, DevicePreparation(run.preprocess, light))
    outputs = classify(
        model,
        architecture_of(run.architecture),
        samples,
        fabric,
        workers=worker_count(machine),
        title=f"light {light.exposure:g}",
        exact=machine.precision != "bf16",
    )
    return score(outputs, run.classes)


def _folder_photos(data: Path, run: TrainedRun) -> list[LabelledPhoto]:
    if not data.is_dir():
        raise DataError("no data set here", where=data, expected="a folder with one folder of photos per class")
    found = class_folders(data)
    if unknown := [name for name in found if name not in run.classes]:
        raise DataError(
            "class folders that the run does not know",
            where=data,
            found=", ".join(unknown),
            expected=", ".join(run.classes),
            fix="rename or remove them",
        )
    photos = read_class_folders(data)
    present = {photo.label for photo in photos}
    if empty := [name for name in found if name not in present]:
        raise DataError(
            "classes without a photo", where=data, found=", ".join(empty), fix="add photos or remove the folder"
        )
    return photos


def _write(file: Path, evaluation: Evaluation) -> None:
    before = read_record(file, EvaluationFile).evaluations if file.is_file() else []
    kept = [entry for entry in before if entry.data != evaluation.data]
    content = EvaluationFile(evaluations=[*kept, evaluation])
    write_text_atomic(file, content.model_dump_json(indent=1) + "\n")


def _table(run: TrainedRun, evaluation: Evaluation) -> Table:
    """A row a light level; the classes' columns are the part of each that is recognised."""
    table = Table(title=f"{run.path.name} on {evaluation.data}: {evaluation.levels[0].score.photos} photos")
    for column in ("light", "accuracy (95 %)", "macro F1", "loss", *run.classes):
        table.add_column(column, justify="right")
    for level in evaluation.levels:
        figures = level.score
        recalls = (figures.per_class[index].recall for index in range(len(run.classes)))
        table.add_row(
            f"{level.light:.4g}",
            f"{figures.accuracy:.4f} ({figures.interval_low:.3f}–{figures.interval_high:.3f})",
            f"{figures.macro_f1:.4f}",
            f"{figures.loss:.4f}",
            *("–" if recall is None else f"{recall:.3f}" for recall in recalls),
        )
    return table
