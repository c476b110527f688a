"""How good a finished run is on other photos, or in another light. Command `train/run.py evaluate`.

Everything goes through the device preprocessing, in float32. Darkness is simulated by `smartbin.lowlight` on the whole
photo before it is shrunk, with sensor noise; it is the noise model that the augmentation uses, with other seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from smartbin.atomic import write_text_atomic
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto
from train.augmentation.lighting import Light
from train.checkpoint import TrainedRun, load_run, read_record
from train.cli import parse_evaluate
from train.config import Machine
from train.console import say
from train.datasets.named_sets import NAMED_SETS
from train.datasets.sources import Part, open_known
from train.finished_run import FinishedRun
from train.metrics import Score, SourceScore, score, score_sources

EVALUATION_FILE = "evaluation.json"
_PIPED_WIDTH = 128


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LightScore(_Record):
    """The figures at a part of the light; 1 is the photos as they are, above it they are over-exposed."""

    light: float
    score: Score
    sources: list[SourceScore] = []
    """Each source alone, where there are several."""


class Evaluation(_Record):
    """A run on a set of photos."""

    data: str
    """Names or folders, or the part of the run's own data."""
    trained_on: int = 0
    """Photos among them that the run was trained on, as far as their paths tell."""
    levels: list[LightScore]


class EvaluationFile(_Record):
    """`evaluation.json`: one entry per set of photos; measuring again replaces it."""

    evaluations: list[Evaluation]


def evaluate_command(arguments: Sequence[str]) -> int:
    """The command `evaluate RUN`; the exit code."""
    command = parse_evaluate(arguments)
    evaluate(
        command.run,
        data=command.data,
        data_root=command.data_root,
        part=command.part,
        lights=command.lights,
        machine=command.machine,
        out=command.out,
    )
    return 0


def evaluate(
    path: Path,
    *,
    data: Sequence[str],
    data_root: Path,
    part: Part,
    lights: Sequence[float],
    machine: Machine,
    out: Path | None = None,
) -> Evaluation:
    """Score the run in `path` on the sets in `data` (names or folders), else on its own `part`, at each light.

    The sets may lack classes of the run, but have none that it does not know (`DataError`). Prints a table and writes
    `evaluation.json` into the run, or to `out`.
    """
    conditions = [Light(exposure=light) for light in lights]
    run = load_run(path)
    own = f"{part} part of {run.data}"
    photos, sources = other_photos(data, data_root, run) if data else (run.photos(part), run.split.source_names(part))
    if not photos:
        raise DataError("no photos to evaluate on", where=f"the {own}", expected="one or more")
    finished = FinishedRun(run, machine)
    levels = [_level(finished, photos, sources, light) for light in conditions]
    title = ", ".join(item if item in NAMED_SETS else str(Path(item).resolve()) for item in data) or own
    seen = {photo.path for photo in run.split.listed("train")}
    trained_on = sum(photo.path in seen for photo in photos)
    evaluation = Evaluation(data=title, trained_on=trained_on, levels=levels)
    if trained_on:
        say(f"note: the run was trained on {trained_on} of these {len(photos)} photos, which flatters the figures")
    _write(out or path / EVALUATION_FILE, evaluation)
    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(_table(run, evaluation))
    return evaluation


def _level(finished: FinishedRun, photos: Sequence[LabelledPhoto], sources: Sequence[str], light: Light) -> LightScore:
    outputs, classes = finished.outputs(photos, f"light {light.exposure:g}", light=light), finished.run.classes
    return LightScore(
        light=light.exposure, score=score(outputs, classes), sources=score_sources(outputs, classes, sources)
    )


def other_photos(data: Sequence[str], data_root: Path, run: TrainedRun) -> tuple[list[LabelledPhoto], list[str]]:
    """The photos of sets other than the run's own, and the source of each."""
    found = open_known(data, data_root, run.classes)
    photos = [photo for one in found for photo in one.photos]
    return photos, [one.source.name for one in found for _ in one.photos]


def _write(file: Path, evaluation: Evaluation) -> None:
    before = read_record(file, EvaluationFile).evaluations if file.is_file() else []
    kept = [entry for entry in before if entry.data != evaluation.data]
    content = EvaluationFile(evaluations=[*kept, evaluation])
    write_text_atomic(file, content.model_dump_json(indent=1) + "\n")


def _table(run: TrainedRun, evaluation: Evaluation) -> Table:
    """A row a light level, and one for each of several sources; a class's column is the part of it recognised."""
    table = Table(title=f"{run.path.name} on {evaluation.data}: {evaluation.levels[0].score.photos} photos")
    for column in ("light", "accuracy (95 %)", "macro F1", "loss", *run.classes):
        table.add_column(column, justify="right")
    for level in evaluation.levels:
        _add_row(table, f"{level.light:.4g}", level.score)
        for part in level.sources:
            _add_row(table, f"  {part.source}", part.score)
    return table


def _add_row(table: Table, name: str, figures: Score) -> None:
    table.add_row(
        name,
        f"{figures.accuracy:.4f} ({figures.interval_low:.3f}–{figures.interval_high:.3f})",
        f"{figures.macro_f1:.4f}",
        f"{figures.loss:.4f}",
        *("–" if entry.recall is None else f"{entry.recall:.3f}" for entry in figures.per_class),
    )
