"""`smartbin dataset list | label | export`: pictures that the bin kept, their labels, a data set of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from types import MappingProxyType

from rich.console import Console
from rich.table import Table

from device.config import load_config
from device.events_command import local_time
from device.samples.accuracy import Estimate, LiveAccuracy, live_accuracy
from device.samples.dataset import export_dataset, missing_classes
from device.samples.labels import Sample, SampleBook, Verdict
from smartbin.prediction import probability_text

_SHOWN = 20
_TOLD = {
    "accepted": "accepted answers that are right",
    "uncertain": "held back, though the guess was right",
    "guesses": "guesses that are right, acted on or not",
}


def dataset(options: argparse.Namespace) -> int:
    """The exit code."""
    book = SampleBook(load_config(options.config, {}).store.paths)
    return _ACTIONS[options.action](book, options)


def _list(book: SampleBook, options: argparse.Namespace) -> int:
    waiting, labelled, accuracy = book.waiting(10_000), book.labelled(), live_accuracy(book)
    if options.json:
        print(json.dumps(_record(waiting, labelled, accuracy), ensure_ascii=False))
        return 0
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(f"{len(waiting)} pictures wait for a label, {len(labelled)} have one", highlight=False)
    if waiting:
        console.print(_waiting_table(book, waiting[:_SHOWN]))
    if labelled:
        console.print(_label_table(labelled))
    models = list(dict.fromkeys(sample.model for sample in reversed(labelled)))
    for model in models:
        of_it = live_accuracy(book, model=model) if len(models) > 1 else accuracy
        for name, told in _TOLD.items():
            if (found := getattr(of_it, name)) is not None:
                console.print(f"{model}: {told}: {_interval(found)}", highlight=False)
    return 0


def _label(book: SampleBook, options: argparse.Namespace) -> int:
    verdict: Verdict = options.label if options.label in ("none", "skip") else "class"
    book.give(options.sample, verdict, options.label)
    print(f"picture {options.sample}: {options.label}")
    return 0


def _export(book: SampleBook, options: argparse.Namespace) -> int:
    done = export_dataset(book, options.out, options.none_as)
    counts = ", ".join(f"{name} {count}" for name, count in done.counts.items())
    print(f"{done.photos} pictures in {options.out}: {counts}")
    left_out = {"labelled none": done.none, "skipped": done.skipped, "no longer there": done.removed}
    if told := ", ".join(f"{count} {name}" for name, count in left_out.items() if count):
        print(f"left out: {told}")
    if missing := missing_classes(done, book.labelled()):
        print(f"no picture of {', '.join(missing)}: train on others beside these (--data garbage {options.out})")
    else:
        print(f"train on them: python train/run.py --data {options.out}")
    return 0


_ACTIONS: MappingProxyType[str, Callable[[SampleBook, argparse.Namespace], int]] = MappingProxyType(
    {"list": _list, "label": _label, "export": _export}
)


def _waiting_table(book: SampleBook, samples: list[Sample]) -> Table:
    table = Table(title="The newest without a label", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("id", "time", "why", "the model's guess", "file"):
        table.add_column(name, justify="right" if name == "id" else "left", overflow="fold")
    for sample in samples:
        moment = f"{local_time(sample.time_ms):%Y-%m-%d %H:%M}"
        guess = f"{sample.guess} {probability_text(sample.confidence)}" if sample.guess else "none"
        table.add_row(str(sample.id), moment, sample.reason, guess, str(book.path(sample)))
    return table


def _label_table(samples: list[Sample]) -> Table:
    table = Table(title="Labels", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("", "pictures", "guessed right", "not exported yet"):
        table.add_column(name, justify="left" if not name else "right")
    labels = Counter(_said(sample) for sample in samples)
    for label, number in sorted(labels.items()):
        own = [sample for sample in samples if _said(sample) == label]
        right = sum(sample.guess == label for sample in own)
        fresh = sum(not sample.exported for sample in own)
        table.add_row(label, str(number), str(right), str(fresh))
    return table


def _said(sample: Sample) -> str:
    assert sample.given is not None
    return sample.given.label or {"none": "none of the classes", "skip": "skipped"}[sample.given.verdict]


def _interval(found: Estimate) -> str:
    return f"{found.share:.1%} (95 %: {found.low:.1%} to {found.high:.1%}, {found.labels} labels)"


def _record(waiting: list[Sample], labelled: list[Sample], accuracy: LiveAccuracy) -> dict[str, object]:
    return {
        "waiting": len(waiting),
        "waiting_by_reason": dict(Counter(sample.reason for sample in waiting)),
        "labels": dict(Counter(_said(sample) for sample in labelled)),
        "accuracy": {name: value and asdict(value) for name in _TOLD for value in [getattr(accuracy, name)]},
    }
