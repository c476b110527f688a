"""Runs measured under conditions: another light, another correction, other photos. Called by `study`.

What was measured is kept in the run directory, so that a study that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from smartbin.atomic import write_text_atomic
from smartbin.brightness import BrightnessSettings
from smartbin.images import LabelledPhoto
from train.augmentation.lighting import AS_IT_IS, Light
from train.checkpoint import TrainedRun, read_record
from train.config import Machine
from train.datasets.sources import Part
from train.evaluate import other_photos
from train.finished_run import FinishedRun
from train.metrics import Score, pooled, score
from train.study.source_probe import SourceProbe, source_probe

MEASUREMENTS_FILE = "measurements.json"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a run is measured on; the default is its validation photos as they are."""

    name: str = "validation"
    light: Light = AS_IT_IS
    brightness: BrightnessSettings | None = None
    """Another correction than the run was trained with; None: its own."""
    photos: Path | None = None
    """A folder of class folders; None: the run's own photos."""
    part: Part = "val"
    """Which of its own photos; a run that has none in that part is not measured."""
    source: str = ""
    """Of the run's own photos only those of this source; empty: all."""
    size: int = 0
    """Side of the network's input, pixels; 0: the run's own."""

    @property
    def key(self) -> str:
        """Everything but the name that is not as usual, to know what was measured again after fields were added."""
        own = ((field.name, field.default, getattr(self, field.name)) for field in fields(self))
        return "; ".join(f"{name} {value!r}" for name, usual, value in own if name != "name" and value != usual)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measurement(_Record):
    """A run under a condition."""

    condition: str
    key: str
    """Of the condition."""
    score: Score

    @property
    def elsewhere(self) -> bool:
        """Whether these are other photos than the run's own, the same for every fold."""
        return any(part.startswith("photos ") for part in self.key.split("; "))


class MeasurementsFile(_Record):
    """`measurements.json` of a run directory."""

    measurements: list[Measurement]
    probe: SourceProbe | None = None


@dataclass(frozen=True, slots=True)
class StudyRun:
    """A row of a study: a finished run, or one for every fold of the photos, and what was measured on each."""

    name: str
    runs: Sequence[TrainedRun]
    measurements: Sequence[Sequence[Measurement]]
    """Of each run, in the order of the conditions, which are the same for all."""
    probes: Sequence[SourceProbe | None] = ()
    """Of each run; None for those that cannot be probed, such as runs on one source."""
    folds: Sequence[int] = ()
    """Number of the fold that each run holds back; empty without folds."""

    def score(self, condition: str) -> Score:
        """The figures under the condition of that name, all folds together; `KeyError` if it was not measured."""
        return self.scores[condition]

    @property
    def scores(self) -> dict[str, Score]:
        """The figures by name of the condition, all folds together."""
        together = zip(*self.measurements, strict=True)
        return {
            folds[0].condition: pooled([fold.score for fold in folds], same_photos=folds[0].elsewhere)
            for folds in together
        }

    @property
    def elsewhere(self) -> list[str]:
        """Names of the conditions that are of other photos than the runs' own."""
        return [item.condition for item in self.measurements[0] if item.elsewhere]

    @property
    def first(self) -> Score:
        """The figures under the first condition, all folds together."""
        return next(iter(self.scores.values()))

    @property
    def seconds(self) -> float:
        """Of training, all folds together."""
        return sum(run.metrics.seconds for run in self.runs)

    def mean(self, figure: Callable[[TrainedRun], float]) -> float:
        """A figure of a run, its mean over the folds."""
        return sum(map(figure, self.runs)) / len(self.runs)


def measure(
    run: TrainedRun, conditions: Sequence[Condition], machine: Machine
) -> tuple[list[Measurement], SourceProbe | None]:
    """Score the finished run under each condition, in order, and probe it if it is on several sources.

    On several sources it is scored on each of them, too. What is on record is not measured again.
    """
    file, finished = run.path / MEASUREMENTS_FILE, FinishedRun(run, machine)
    record = read_record(file, MeasurementsFile) if file.is_file() else MeasurementsFile(measurements=[])
    known = {entry.key: entry for entry in record.measurements}

    def keep(probe: SourceProbe | None) -> None:
        content = MeasurementsFile(measurements=list(known.values()), probe=probe)
        write_text_atomic(file, content.model_dump_json(indent=1) + "\n")

    found: list[Measurement] = []
    wanted = [condition for condition in conditions if condition.photos or run.split.listed(condition.part)]
    for condition in [*wanted, *_source_conditions(run, wanted)]:
        if condition.key not in known:
            measured = _score(finished, condition)
            known[condition.key] = Measurement(condition=condition.name, key=condition.key, score=measured)
            keep(record.probe)
        found.append(known[condition.key].model_copy(update={"condition": condition.name}))
    probe = record.probe or source_probe(finished)
    if probe != record.probe:
        keep(probe)
    return found, probe


def _source_conditions(run: TrainedRun, conditions: Sequence[Condition]) -> list[Condition]:
    """For a run on several sources the validation photos of each alone, and those for the test if these are asked."""
    found: list[Condition] = []
    for whole in [Condition(), *(condition for condition in conditions if condition.part == "test")]:
        names = list(dict.fromkeys(run.split.source_names(whole.part)))
        if len(names) > 1:
            found += [replace(whole, name=f"{whole.name}, {name} alone", source=name) for name in names]
    return found


def _photos(run: TrainedRun, condition: Condition) -> list[LabelledPhoto]:
    if condition.photos is not None:
        return other_photos([str(condition.photos)], condition.photos, run)[0]
    named = zip(run.photos(condition.part), run.split.source_names(condition.part), strict=True)
    return [photo for photo, source in named if condition.source in ("", source)]


def _score(finished: FinishedRun, condition: Condition) -> Score:
    """The figures under a condition."""
    run, spec = finished.run, finished.run.preprocess
    if condition.brightness is not None:
        spec = spec.model_copy(update={"brightness": condition.brightness})
    if condition.size:
        spec = spec.model_copy(update={"size": condition.size})
    title = f"{run.path.name}: {condition.name}"
    return score(finished.outputs(_photos(run, condition), title, light=condition.light, spec=spec), run.classes)
