"""What the figures of a study say, in sentences and tables that are computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from train.metrics import Score
from train.report.document import Block, Table, Text
from train.study.folds import Spread
from train.study.measure import StudyRun
from train.study.plans import DARK_ONLY, OURS, TESTED, THEIRS, light_conditions
from train.study.source_probe import mean_probe
from train.study.steadiness import highest_late_loss, largest_fall

Findings: TypeAlias = Callable[[Sequence[StudyRun]], list[Block]]

CLEAN_COST = 0.005
"""Most accuracy that coping with the dark may cost in good light."""
DIM_COST = 0.02
"""Most accuracy that a model which copes may lose at a quarter of the light."""


def findings(study: str, runs: Sequence[StudyRun], *, whole: bool = True) -> list[Block]:
    """Sentences and tables of a study; the best run by accuracy where there is nothing more to say.

    What a study says of certain rows is left out where it is not `whole`.
    """
    say = _FINDINGS.get(study, _best) if whole or study in _OF_ANY_ROWS else _best
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
    line = f"Best on {next(iter(ranked[0].scores))}{photos}: {ranked[0].name}, {ranked[0].first.accuracy:.3f}."
    return line + _level([(item.name, item.first) for item in ranked])


def _level(ranked: Sequence[tuple[str, Score]]) -> str:
    """Whatever cannot be told from the first of these, which are in the order of their accuracy."""
    level = [name for name, score in ranked[1:] if score.interval_high >= ranked[0][1].interval_low]
    return f" Within its 95 % interval: {'; '.join(level)}." if level else ""


def _places(runs: Sequence[StudyRun]) -> list[Block]:
    """Folder by folder the runs by their accuracy there, and what each costs at home against the study's first run."""
    folders = list(dict.fromkeys(name for item in runs for name in item.elsewhere))
    if not folders:
        return [*_best(runs), Text("No other place was measured: --measure FOLDER names its photos.")]
    first, blocks = runs[0], list[Block]()
    for folder in folders:
        ranked = sorted(
            [item for item in runs if folder in item.scores], key=lambda item: _at(item, folder), reverse=True
        )
        best, rows = ranked[0], []
        for item in ranked:
            score = item.score(folder)
            gain = cost = "–"
            if item is not first:
                cost = f"{item.first.accuracy - first.first.accuracy:+.3f}"
                gain = f"{_at(item, folder) - _at(first, folder):+.3f}" if folder in first.scores else "–"
            interval = f"{score.interval_low:.3f} – {score.interval_high:.3f}"
            rows.append((item.name, f"{score.accuracy:.3f}", interval, gain, f"{item.first.accuracy:.3f}", cost))
        line = f"Best on {folder}: {best.name}, {_at(best, folder):.3f}"
        if best is not first and folder in first.scores:
            line += f", {_beside(_at(best, folder), _at(first, folder))} {first.name}; at home, on validation, it has "
            line += f"{best.first.accuracy:.3f}, {_beside(best.first.accuracy, first.first.accuracy)} {first.name}"
        level = _level([(item.name, item.score(folder)) for item in ranked])
        columns = ("run", folder, "95 % interval", f"against {first.name}", "at home", f"at home against {first.name}")
        blocks += [Text(f"{line}.{level}"), Table(f"By accuracy on {folder}", columns, tuple(rows))]
    return blocks


def _beside(value: float, other: float) -> str:
    """`.012 more than`: a difference of accuracies in words, which take no sign."""
    difference = f"{abs(value - other):.3f}"
    if float(difference) == 0:
        return "as much as"
    return f"{difference} {'more' if value > other else 'less'} than"


def _size(runs: Sequence[StudyRun]) -> list[Block]:
    """For each run, which is a training size, the size that it is best tested at; of equally good ones the smallest."""
    sentences, rows, pairs = [], [], list[tuple[str, Score]]()
    for item in runs:
        tested = [(name, score) for name, score in item.scores.items() if name.startswith(TESTED)]
        ranked = sorted(tested, key=lambda pair: pair[1].accuracy, reverse=True)
        name, best = ranked[0]
        pairs.append((f"{item.name}, {name}", best))
        sentences.append(f"Best for what was {item.name}: {name}, {best.accuracy:.3f}.{_level(ranked)}")
        rows.append((item.name, name.removeprefix(TESTED), *(f"{score.accuracy:.3f}" for _, score in tested)))
    pairs.sort(key=lambda pair: pair[1].accuracy, reverse=True)
    columns = ("run", "best tested at", *(name for name, _ in tested))
    return [
        Text(f"Best of all: {pairs[0][0]}, {pairs[0][1].accuracy:.3f}.{_level(pairs)}"),
        *map(Text, sentences),
        Table("The best test size of each training size", columns, tuple(rows)),
    ]


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
    found = [(item.name, [probe for probe in item.probes if probe]) for item in runs]
    probed = [(name, mean_probe(probes)) for name, probes in found if probes]
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
    both, neither, dark = by_name["both"], by_name["neither"], by_name[DARK_ONLY]
    mended = by_name[f"{DARK_ONLY}, correction"]
    cost = _at(neither, "×1") - _at(both, "×1")
    loss = _at(both, "×1") - _at(both, "×1/4")
    plain = _at(neither, "×1/4") - _at(neither, "×1")
    return [
        Text(
            f"In good light a model with augmentation and correction together gets {_at(both, '×1'):.3f} right, "
            f"{_beside(_at(both, '×1'), _at(neither, '×1'))} one with neither (a cost of at most {CLEAN_COST} was "
            f"wished: {'kept' if cost <= CLEAN_COST else 'missed'}); at a quarter of the light its accuracy changes by "
            f"{-loss:+.3f} (a loss of at most {DIM_COST} was wished: {'kept' if loss <= DIM_COST else 'missed'}), that "
            f"of the plain one by {plain:+.3f}."
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
        rows.append((item.name, f"{good:.3f}", f"{dim:.3f}", f"{dim - good:+.3f}", f"{mean:.4f}"))
    columns = ("run", "×1", "×1/4", "change", f"mean of {len(names)} lights")
    return [Table("Accuracy in good light and in a quarter of it", columns, tuple(rows))]


def _at(item: StudyRun, condition: str) -> float:
    return item.score(condition).accuracy


def _rate(runs: Sequence[StudyRun]) -> list[Block]:
    """How much validation accuracy falls from an epoch to the next: what unstable training looks like."""
    figures = [(item.name, largest_fall(item.runs), highest_late_loss(item.runs)) for item in runs]
    rows = tuple((name, *("–" if value is None else f"{value:.3f}" for value in found)) for name, *found in figures)
    columns = ("run", "largest fall of validation accuracy between epochs", "highest training loss after epoch 1")
    return [*_best(runs), Table("How steadily the runs went", columns, rows)]


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
    {
        "dark": _dark,
        "brightness": _light,
        "rate": _rate,
        "loss": _loss,
        "original": _original,
        "models": _models,
        "places": _places,
        "size": _size,
    }
)
_OF_ANY_ROWS = ("places", "size")  # these name what they compare
