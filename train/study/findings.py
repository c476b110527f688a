"""What the figures of a study say, in sentences and tables that are computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from train.report.document import Block, Table, Text
from train.study.folds import Spread
from train.study.measure import StudyRun
from train.study.plans import OURS, THEIRS, light_conditions
from train.study.source_probe import mean_probe

Findings: TypeAlias = Callable[[Sequence[StudyRun]], list[Block]]

CLEAN_COST = 0.005
"""Most accuracy that coping with the dark may cost in good light."""
DIM_COST = 0.02
"""Most accuracy that a model which copes may lose at a quarter of the light."""


def findings(study: str, runs: Sequence[StudyRun], *, whole: bool = True) -> list[Block]:
    """Sentences and tables of a study; the best run by accuracy where there is nothing more to say.

    What a study says of certain rows is left out where it is not `whole`.
    """
    say = _FINDINGS.get(study, _best) if whole else _best
    return [*say(runs), *_sources(runs), *(_folds(runs) if len(runs[0].runs) > 1 else [])]


def _best(runs: Sequence[StudyRun]) -> list[Block]:
    return [Text(_best_of(runs))]


def _models(runs: Sequence[StudyRun]) -> list[Block]:
    """The best network data set by data set, since accuracies on different photos cannot be compared."""
    by_data: dict[str, list[StudyRun]] = {}
    for item in runs:
        by_data.setdefault(item.runs[0].data, []).append(item)
    return [Text(_best_of(items, f" of {data}")) for data, items in by_data.items()]


def _best_of(runs: Sequence[StudyRun], photos: str = "") -> str:
    ranked = sorted(runs, key=lambda item: item.first.accuracy, reverse=True)
    best = ranked[0].first
    level = [item.name for item in ranked[1:] if item.first.interval_high >= best.interval_low]
    line = f"Best on {next(iter(ranked[0].scores))}{photos}: {ranked[0].name}, {best.accuracy:.3f}."
    return line + (f" Within its 95 % interval: {'; '.join(level)}." if level else "")


def _folds(runs: Sequence[StudyRun]) -> list[Block]:
    """Accuracy and macro F1 over the folds."""
    rows = []
    for item in runs:
        accuracies = Spread.of([run.validation.accuracy for run in item.runs])
        scores = Spread.of([run.validation.macro_f1 for run in item.runs])
        rows.append((item.name, str(accuracies), str(scores)))
    return [Table("Mean ± standard deviation over the folds", ("run", "accuracy", "macro F1"), tuple(rows))]


def _sources(runs: Sequence[StudyRun]) -> list[Block]:
    """Whether runs on several sources can tell these apart."""
    probed = [(item.name, mean_probe(item.probes)) for item in runs if item.probes]
    rows = tuple(
        (name, str(probe.photos), f"{probe.from_features:.3f}", f"{probe.from_class:.3f}", f"{probe.chance:.3f}")
        for name, probe in probed
    )
    columns = ("run", "validation photos", "from the network's features", "from the true class alone", "chance")
    return [Table("How well the source of a photo can be told, balanced accuracy", columns, rows)] if rows else []


def _original(runs: Sequence[StudyRun]) -> list[Block]:
    """Ours against theirs, network by network; over folds the difference is taken fold by fold."""
    by_name = {item.name: item for item in runs}
    sentences = []
    for name, ours in by_name.items():
        if not name.endswith(OURS):
            continue
        theirs = by_name[name.removesuffix(OURS) + THEIRS]
        pairs = zip(ours.runs, theirs.runs, strict=True)
        differences = [mine.validation.accuracy - other.validation.accuracy for mine, other in pairs]
        found = f"{np.mean(differences):+.3f}"
        if len(differences) > 1:
            ahead = sum(gain > 0 for gain in differences)
            found += f" (sd {Spread.of(differences).sd:.3f}, ahead in {ahead} of {len(differences)} folds)"
        sentences.append(f"{name}: {found} of accuracy against the original recipe.")
    return [Text(" ".join(sentences))]


def _dark(runs: Sequence[StudyRun]) -> list[Block]:
    by_name = {item.name: item for item in runs}
    both, neither, dark = by_name["both"], by_name["neither"], by_name["dark photos, neither"]
    mended = by_name["dark photos, correction"]
    cost = _at(neither, "×1") - _at(both, "×1")
    loss = _at(both, "×1") - _at(both, "×1/4")
    return [
        Text(
            f"In good light augmentation and correction together cost {cost:+.3f} (at most {CLEAN_COST} was wished: "
            f"{'kept' if cost <= CLEAN_COST else 'missed'}); at a quarter of the light that model loses {loss:+.3f} of "
            f"its accuracy (at most {DIM_COST} was wished: {'kept' if loss <= DIM_COST else 'missed'}), a plain one "
            f"{_at(neither, '×1') - _at(neither, '×1/4'):+.3f}."
        ),
        Text(
            f"Trained on dark photos only, a model gets {_at(dark, '×1'):.3f} of the photos in good light right "
            f"({_at(dark, '×1/8'):.3f} in the dark that it knows); with the same correction in training and on the "
            f"device {_at(mended, '×1'):.3f}; with the correction on the device alone "
            f"{_at(dark, '×1, correction on'):.3f}."
        ),
        *_light(runs),
    ]


def _light(runs: Sequence[StudyRun]) -> list[Block]:
    """What is lost with the light, and the mean over all lights as trained."""
    names = [condition.name for condition in light_conditions()]
    rows = []
    for item in runs:
        good, dim = _at(item, "×1"), _at(item, "×1/4")
        mean = float(np.mean([_at(item, name) for name in names]))
        rows.append((item.name, f"{good:.3f}", f"{dim:.3f}", f"{good - dim:+.3f}", f"{mean:.4f}"))
    columns = ("run", "×1", "×1/4", "lost", f"mean of {len(names)} lights")
    return [Table("Accuracy in good light and in a quarter of it", columns, tuple(rows))]


def _at(item: StudyRun, condition: str) -> float:
    return item.score(condition).accuracy


def _rate(runs: Sequence[StudyRun]) -> list[Block]:
    """How much validation accuracy falls from an epoch to the next: what unstable training looks like."""
    rows = []
    for item in runs:
        histories = [run.metrics.history for run in item.runs]
        falls = [
            before.raw_val_accuracy - after.raw_val_accuracy
            for history in histories
            for before, after in pairwise(history)
        ]
        losses = [epoch.train_loss for history in histories for epoch in history[1:] or history]
        rows.append((item.name, f"{max([0.0, *falls]):.3f}", f"{max(losses):.3f}"))
    columns = ("run", "largest fall of validation accuracy between epochs", "highest training loss after epoch 1")
    return [*_best(runs), Table("How steadily the runs went", columns, tuple(rows))]


def _loss(runs: Sequence[StudyRun]) -> list[Block]:
    """The gap between running training loss and validation loss, and how much is left on equal terms."""
    rows = []
    for item in runs:
        running = item.mean(lambda run: run.metrics.history[-1].train_loss)
        plain = item.mean(lambda run: run.metrics.train.loss)
        validation = item.mean(lambda run: run.validation.loss)
        figures = (running, plain, validation)
        gaps = (running - validation, plain - validation)
        cells = [*(f"{value:.3f}" for value in figures), *(f"{gap:+.3f}" for gap in gaps)]
        rows.append((item.name, *cells))
    columns = (
        "run", "running training loss", "training, not augmented", "validation", "gap", "gap on equal terms",
    )  # fmt: skip
    return [Table("Losses after the last epoch", columns, tuple(rows))]


_FINDINGS: Mapping[str, Findings] = MappingProxyType(
    {"dark": _dark, "brightness": _light, "rate": _rate, "loss": _loss, "original": _original, "models": _models}
)
