"""What the figures of a study say, in sentences that are computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from train.study_measure import StudyRun

Findings: TypeAlias = Callable[[Sequence[StudyRun]], list[str]]

CLEAN_COST = 0.005
"""Most accuracy that coping with the dark may cost in good light."""
DIM_COST = 0.02
"""Most accuracy that a model which copes may lose at a quarter of the light."""


def findings(study: str, runs: Sequence[StudyRun]) -> list[str]:
    """The sentences of a study; the best run by accuracy where there is nothing more to say."""
    return _FINDINGS.get(study, _best)(runs)


def _best(runs: Sequence[StudyRun]) -> list[str]:
    ranked = sorted(runs, key=lambda item: item.measurements[0].score.accuracy, reverse=True)
    best = ranked[0].measurements[0].score
    level = [item.name for item in ranked[1:] if item.measurements[0].score.interval_high >= best.interval_low]
    line = f"Best on {ranked[0].measurements[0].condition}: **{ranked[0].name}**, {best.accuracy:.3f}."
    return [line + (f" Within its 95 % interval: {', '.join(level)}." if level else "")]


def _dark(runs: Sequence[StudyRun]) -> list[str]:
    by_name = {item.name: item for item in runs}
    both, neither, dark = by_name["both"], by_name["neither"], by_name["dark photos, neither"]
    mended = by_name["dark photos, correction"]
    cost = _at(neither, "×1") - _at(both, "×1")
    loss = _at(both, "×1") - _at(both, "×1/4")
    return [
        f"In good light augmentation and correction together cost {cost:+.3f} (at most {CLEAN_COST} was wished: "
        f"{'kept' if cost <= CLEAN_COST else 'missed'}); at a quarter of the light that model loses {loss:+.3f} of its "
        f"accuracy (at most {DIM_COST} was wished: {'kept' if loss <= DIM_COST else 'missed'}), a plain one "
        f"{_at(neither, '×1') - _at(neither, '×1/4'):+.3f}.",
        f"Trained on dark photos only, a model gets {_at(dark, '×1'):.3f} of the photos in good light right "
        f"({_at(dark, '×1/8'):.3f} in the dark that it knows); with the same correction in training and on the device "
        f"{_at(mended, '×1'):.3f}; with the correction on the device alone {_at(dark, '×1, correction on'):.3f}.",
    ]


def _at(item: StudyRun, condition: str) -> float:
    return item.score(condition).accuracy


def _rate(runs: Sequence[StudyRun]) -> list[str]:
    """How much validation accuracy falls from an epoch to the next: what unstable training looks like."""
    lines = ["| run | largest fall of validation accuracy between epochs | highest training loss after epoch 1 |"]
    lines.append("| --- | ---: | ---: |")
    for item in runs:
        history = item.run.metrics.history
        accuracies = [epoch.raw_val_accuracy for epoch in history]
        falls = [before - after for before, after in pairwise(accuracies)]
        losses = [epoch.train_loss for epoch in history[1:]] or [history[0].train_loss]
        lines.append(f"| {item.name} | {max([0.0, *falls]):.3f} | {max(losses):.3f} |")
    return [*_best(runs), "\n".join(lines)]


def _loss(runs: Sequence[StudyRun]) -> list[str]:
    """The gap between running training loss and validation loss, and how much is left on equal terms."""
    lines = ["| run | running training loss | training, not augmented | validation | gap | gap on equal terms |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for item in runs:
        running, plain = item.run.metrics.history[-1].train_loss, item.run.metrics.train.loss
        validation = item.run.validation.loss
        figures = (running, plain, validation)
        gaps = (running - validation, plain - validation)
        cells = [*(f"{value:.3f}" for value in figures), *(f"{gap:+.3f}" for gap in gaps)]
        lines.append(f"| {item.name} | {' | '.join(cells)} |")
    return ["\n".join(lines)]


_FINDINGS: Mapping[str, Findings] = MappingProxyType({"dark": _dark, "rate": _rate, "loss": _loss})
