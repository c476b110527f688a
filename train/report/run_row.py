"""What is known of a finished run, for a comparison with others: a row of `compare`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

from safetensors import safe_open

from train.checkpoint import MODEL_FILE, TrainedRun, load_run
from train.report.circumstances import Circumstances
from train.report.course import settings_of, train_side
from train.report.findings import Findings, find, outputs_if_kept

_NOT_SETTINGS = ("out", "data_root", "machine.")  # what of the machine moves a result is in its `Circumstances`
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: accuracy and macro F1 on validation, the rest as in its report. None is what it did not measure."""

    run: str
    model: str
    data: str
    split: str
    photos: int
    accuracy: float
    interval_low: float
    interval_high: float
    macro_f1: float
    test_accuracy: float | None
    calibration_error: float | None
    """Cross-fitted, after the temperature."""
    caught: float | None
    """Part of the out-of-set pictures that the thresholds of a bundle hold back."""
    caught_by_distance: float | None
    """The same by distance in feature space alone."""
    epochs: int
    seconds: float
    images_per_second: float
    """Training, mean over the epochs."""
    parameters: int
    weights: str
    train_px: int
    test_px: int
    """Sides of the network's input in training and on the device, resolved: the architecture's where none was given."""
    precision: str
    hardware: str
    software: str
    commit: str
    course: tuple[tuple[float, float], ...]
    """After each epoch the seconds so far, of training and of what was computed before it, validation left out; and the
    validation accuracy."""
    settings: tuple[tuple[str, str], ...]
    """Every setting of the run that moves its result, by dotted name; sizes resolved."""

    @property
    def circumstances(self) -> Circumstances:
        """What it was made with beside its settings."""
        return Circumstances(self.precision, self.hardware, self.software, self.commit)

    def seconds_to(self, accuracy: float) -> float | None:
        """Up to the end of the first epoch with that validation accuracy, as in `course`; None if there is none."""
        return next((seconds for seconds, reached in self.course if reached >= accuracy), None)


def read_row(path: Path, name: str) -> RunRow:
    """The row of the run in `path`, called `name`."""
    run = load_run(path)
    findings, score = _findings(path), run.validation
    made, train_px = Circumstances.of(run), train_side(run)
    distance = findings.catch("feature distance alone") if findings else None
    return RunRow(
        run=name,
        model=run.architecture,
        data=run.data,
        split=run.split.split,
        photos=score.photos,
        accuracy=score.accuracy,
        interval_low=score.interval_low,
        interval_high=score.interval_high,
        macro_f1=score.macro_f1,
        test_accuracy=run.metrics.test.accuracy if run.metrics.test else None,
        calibration_error=findings.reliability.crossfitted if findings else None,
        caught=findings.catches[0].caught if findings and findings.catches else None,
        caught_by_distance=distance.caught if distance else None,
        epochs=run.epochs,
        seconds=run.metrics.seconds,
        images_per_second=run.metrics.images_per_second,
        parameters=_count_parameters(path / MODEL_FILE),
        weights=run.weights,
        train_px=train_px,
        test_px=run.preprocess.size,
        precision=made.precision,
        hardware=made.hardware,
        software=made.software,
        commit=made.commit,
        course=_course(run),
        settings=_settings(run, train_px),
    )


def _count_parameters(weights: Path) -> int:
    """Numbers that were learned, from the file's table of contents; batch-norm statistics are none."""
    with safe_open(weights, framework="pt") as opened:
        names = [name for name in opened.keys() if not name.endswith(_BUFFERS)]  # noqa: SIM118
        return sum(math.prod(opened.get_slice(name).get_shape()) for name in names)


def _findings(path: Path) -> Findings | None:
    outputs = outputs_if_kept(path)
    return None if outputs is None else find(outputs)


def _course(run: TrainedRun) -> tuple[tuple[float, float], ...]:
    history = run.metrics.history
    seconds = accumulate((epoch.seconds for epoch in history), initial=run.metrics.set_up_seconds)
    return tuple(zip(islice(seconds, 1, None), (epoch.val_accuracy for epoch in history), strict=True))


def _settings(run: TrainedRun, train_px: int) -> tuple[tuple[str, str], ...]:
    resolved = {"train_size": str(train_px), "test_size": str(run.preprocess.size)}  # 0 in the file: the architecture's
    settings = settings_of(run.path)
    return tuple((name, resolved.get(name, value)) for name, value in settings if not name.startswith(_NOT_SETTINGS))
