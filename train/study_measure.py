"""Runs measured under conditions: another light, another correction, other photos. Called by `study`.

What was measured is kept in the run directory, so that a study that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from smartbin.atomic import write_text_atomic
from smartbin.brightness import BrightnessSettings
from smartbin.images import LabelledPhoto
from train.architectures import architecture_of
from train.checkpoint import TrainedRun, load_run, read_record
from train.config import Machine
from train.evaluate import other_photos
from train.inference import DevicePreparation, classify
from train.lighting import AS_IT_IS, Light
from train.loader import PhotoSamples
from train.machine import open_fabric, worker_count
from train.metrics import Score, score
from train.reading import open_photos

MEASUREMENTS_FILE = "measurements.json"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a run is measured on; the default is its validation photos as they are."""

    name: str = "validation"
    light: Light = AS_IT_IS
    brightness: BrightnessSettings | None = None
    """Another correction than the run was trained with; None: its own."""
    photos: Path | None = None
    """A folder of class folders; None: the run's own validation photos."""
    source: str = ""
    """Of the run's own photos only those of this source; empty: all."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measurement(_Record):
    """A run under a condition."""

    condition: str
    key: str
    """Everything the condition consists of, to know it again."""
    score: Score


class MeasurementsFile(_Record):
    """`measurements.json` of a run directory."""

    measurements: list[Measurement]


@dataclass(frozen=True, slots=True)
class StudyRun:
    """A finished run of a study and what was measured on it, in the order of the conditions."""

    name: str
    run: TrainedRun
    measurements: Sequence[Measurement]

    def score(self, condition: str) -> Score:
        """The figures under the condition of that name; `KeyError` if it was not measured."""
        return self.scores[condition]

    @property
    def scores(self) -> dict[str, Score]:
        """The figures by name of the condition."""
        return {measurement.condition: measurement.score for measurement in self.measurements}


def measure(path: Path, conditions: Sequence[Condition], machine: Machine) -> list[Measurement]:
    """Score the finished run in `path` under each condition, in order; what is on record is not measured again."""
    file = path / MEASUREMENTS_FILE
    known = {entry.key: entry for entry in read_record(file, MeasurementsFile).measurements} if file.is_file() else {}
    run = load_run(path)
    for condition in conditions:
        key = repr(condition)
        if key in known:
            continue
        figures = _score(run, _photos(run, condition), condition, machine)
        known[key] = Measurement(condition=condition.name, key=key, score=figures)
        content = MeasurementsFile(measurements=list(known.values()))
        write_text_atomic(file, content.model_dump_json(indent=1) + "\n")
    return [known[repr(condition)] for condition in conditions]


def source_conditions(run: TrainedRun) -> list[Condition]:
    """For a run on several sources the validation photos of each alone."""
    names = list(dict.fromkeys(run.split.source_names("val")))
    return [Condition(f"validation, {name} alone", source=name) for name in names] if len(names) > 1 else []


def _photos(run: TrainedRun, condition: Condition) -> list[LabelledPhoto]:
    if condition.photos is not None:
        return other_photos([str(condition.photos)], condition.photos, run)[0]
    named = zip(run.photos("val"), run.split.source_names("val"), strict=True)
    return [photo for photo, source in named if condition.source in ("", source)]


def _score(run: TrainedRun, photos: Sequence[LabelledPhoto], condition: Condition, machine: Machine) -> Score:
    fabric = open_fabric(machine)
    spec = run.preprocess
    if condition.brightness is not None:
        spec = spec.model_copy(update={"brightness": condition.brightness})
    outputs = classify(
        run.build_model().to(fabric.device),
        architecture_of(run.architecture),
        PhotoSamples(photos, run.classes, open_photos(photos, machine), DevicePreparation(spec, condition.light)),
        fabric,
        workers=worker_count(machine),
        title=f"{run.path.name}: {condition.name}",
        exact=machine.precision != "bf16",
    )
    return score(outputs, run.classes)
