"""k-fold: a run for each fold, and their figures together. Command `train/run.py folds`.

```
python train/run.py folds --folds 5 --data garbage --out runs/folds
```

In: the flags of a training run. Out: the run directories `fold-0` … below `--out`, `folds.json` and `folds.md`. The
same command goes on after a kill: finished folds are left alone, a stopped one is resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from smartbin.atomic import write_text_atomic
from smartbin.calibration import wilson_interval
from smartbin.config import load_settings
from smartbin.errors import ConfigError
from train.checkpoint import TrainedRun, load_run
from train.cli import TrainCommand, parse_train
from train.config import TrainConfig, resolve
from train.console import say
from train.datasets.photos import open_data
from train.report.document import Document, Section, Table
from train.report.document_markdown import to_markdown, write_markdown
from train.stopping import Stopped
from train.study.campaign import fold_variants, run_all

FOLDS_FILE, TABLE_FILE = "folds.json", "folds.md"
_USUAL = 5


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Record):
    """Mean over the folds and standard deviation between them (n - 1)."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of two or more values."""
        return cls(mean=float(np.mean(values)), sd=float(np.std(values, ddof=1)))

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.sd:.4f}"


class FoldScore(_Record):
    """The figures of one fold, on photos that its run did not train on."""

    fold: int
    photos: int
    accuracy: float
    macro_f1: float
    recall: list[float]
    """Part of each class that is recognised, in the order of the classes."""
    f1: list[float]


class FoldsReport(_Record):
    """`folds.json`. Together the folds hold every photo once: `pooled_accuracy` is of all, with Wilson's interval."""

    architecture: str
    data: str
    split: str
    classes: list[str]
    folds: list[FoldScore]
    accuracy: Spread
    macro_f1: Spread
    class_recall: list[Spread]
    class_f1: list[Spread]
    pooled_accuracy: float
    interval_low: float
    interval_high: float


def folds_command(arguments: Sequence[str]) -> int:
    """The command `folds`; the exit code."""
    command = parse_train(arguments)
    if command.resume or "fold" in command.overrides:
        raise ConfigError(
            "all folds are trained, and go on by themselves",
            where="the command line",
            found="--resume" if command.resume else "--fold",
            fix="leave it out; for one fold alone: train/run.py --folds K --fold I",
        )
    out = Path(str(command.overrides.pop("out", "runs/folds")))
    try:
        report = run_folds(command, out)
    except Stopped as stopped:
        say(f"stopped by {stopped}; what is done is kept. The same command again goes on")
        return 128 + stopped.number
    say("\n" + to_markdown(folds_document(report)))
    say(f"written: {out / FOLDS_FILE}, {out / TABLE_FILE}")
    return 0


def run_folds(command: TrainCommand, out: Path) -> FoldsReport:
    """Train every fold below `out` and write what they say together.

    Raises whatever is wrong with configuration or photos before the first fold, and `Stopped` after a signal, once the
    state is saved.
    """
    first = load_settings(TrainConfig, command.config, {"folds": _USUAL, **command.overrides, "fold": 0})
    if not first.folds:
        raise ConfigError("no folds", where="--folds", found=0, expected="2 or more")
    base = resolve(first)
    variants = fold_variants(base, "fold-")
    for variant in variants:
        open_data(variant.config)
    runs = [load_run(path) for path in run_all(variants, out)]
    report = fold_report(runs)
    write_text_atomic(out / FOLDS_FILE, report.model_dump_json(indent=1) + "\n")
    write_markdown(folds_document(report), out / TABLE_FILE)
    return report


def fold_report(runs: Sequence[TrainedRun]) -> FoldsReport:
    """The validation figures of runs, one a fold, together."""
    folds = [_fold_score(number, run) for number, run in enumerate(runs)]
    first = runs[0]
    photos = sum(fold.photos for fold in folds)
    correct = sum(run.validation.correct for run in runs)
    low, high = wilson_interval(correct, photos)
    return FoldsReport(
        architecture=first.architecture,
        data=first.data,
        split=first.split.split.partition(", ")[2],
        classes=list(first.classes),
        folds=folds,
        accuracy=Spread.of([fold.accuracy for fold in folds]),
        macro_f1=Spread.of([fold.macro_f1 for fold in folds]),
        class_recall=[Spread.of([fold.recall[index] for fold in folds]) for index in range(len(first.classes))],
        class_f1=[Spread.of([fold.f1[index] for fold in folds]) for index in range(len(first.classes))],
        pooled_accuracy=correct / photos,
        interval_low=low,
        interval_high=high,
    )


def folds_document(report: FoldsReport) -> Document:
    """The report for people: fold by fold, and class by class."""
    folds = tuple(
        (str(fold.fold), str(fold.photos), f"{fold.accuracy:.4f}", f"{fold.macro_f1:.4f}") for fold in report.folds
    )
    classes = zip(report.classes, report.class_recall, report.class_f1, strict=True)
    return Document(
        f"{report.architecture} on {report.data}, {len(report.folds)} folds",
        f"Split: {report.split}. Accuracy {report.accuracy}, macro F1 {report.macro_f1} (mean ± standard deviation "
        f"between folds). All photos together: {report.pooled_accuracy:.4f} (95 % interval {report.interval_low:.4f} "
        f"to {report.interval_high:.4f}).",
        (),
        (
            Section("Folds", (Table("Fold by fold", ("fold", "photos", "accuracy", "macro F1"), folds),)),
            Section(
                "Classes",
                (
                    Table(
                        "Mean ± standard deviation between folds",
                        ("class", "recall", "F1"),
                        tuple((name, str(recall), str(f1)) for name, recall, f1 in classes),
                    ),
                ),
            ),
        ),
    )


def _fold_score(number: int, run: TrainedRun) -> FoldScore:
    figures = run.validation
    return FoldScore(
        fold=number,
        photos=figures.photos,
        accuracy=figures.accuracy,
        macro_f1=figures.macro_f1,
        recall=[entry.recall or 0.0 for entry in figures.per_class],  # every class has photos in every fold
        f1=[entry.f1 or 0.0 for entry in figures.per_class],
    )
