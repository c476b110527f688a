"""Chooses among runs and exports the best: `smartbin-export best RUN… --min-accuracy A --max-latency-ms L --out DIR`.

Runs are taken by the macro F1 of their validation, highest first, and exported until one keeps the limits: the exported
file's accuracy on the validation photos, and its median latency for one photo on this machine.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from export.arguments import PRECISIONS, add_bundle_flags, export_options, written
from export.build import check_place, export_bundle
from export.photo_batches import PhotoSet, take_evenly
from smartbin.arguments import accuracy, count, number
from smartbin.atomic import replace_folder
from smartbin.bundle import Bundle, read_bundle
from smartbin.engine.opening import build_here
from smartbin.engine.options import EngineSettings
from smartbin.errors import ConfigError, ExportError
from smartbin.latency import StageTimer
from smartbin.runtime import open_classifier
from train.checkpoint import TrainedRun, load_run

_WARM_UP, _LAPS, _PHOTOS = 5, 60, 8
_TABLE_WIDTH = 128


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run, what its exported file does as far as it was measured, and what speaks against it."""

    run: TrainedRun
    bundle: Bundle | None = None
    accuracy: float = math.nan
    """Of the exported file on the validation photos."""
    latency_ms: float = math.nan
    """Median for one photo."""
    against: str = ""
    """Empty: nothing."""


def best_parser() -> argparse.ArgumentParser:
    """The parser of `smartbin-export best`."""
    parser = argparse.ArgumentParser(
        prog="smartbin-export best",
        description="Export the run of highest validation macro F1 whose exported file keeps the limits.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories made by train/run.py")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle's folder")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8", help="default: int8")
    parser.add_argument(
        "--min-accuracy",
        type=accuracy,
        default=0.0,
        metavar="A",
        help="of the exported file on the validation photos, 0 to 1",
    )
    parser.add_argument(
        "--max-latency-ms",
        type=number(float, "a number of 0 or more", lambda value: value >= 0),
        default=math.inf,
        metavar="L",
        help="median for one photo, network alone, on this machine; with --target tensorrt this needs TensorRT",
    )
    parser.add_argument("--threads", type=count, metavar="N", help="CPU threads (default: as the daemon's)")
    add_bundle_flags(parser)
    return parser


def export_best(arguments: argparse.Namespace) -> int:
    """Choose, write the bundle and say why; the exit code.

    `ConfigError` for runs that cannot be compared, `ExportError` if none keeps the limits; nothing is written then.
    """
    runs = sorted(map(load_run, arguments.runs), key=lambda run: run.validation.macro_f1, reverse=True)
    _check_comparable(runs)
    check_place(arguments.out, arguments.force)
    console = Console(stderr=True)
    tried: list[Candidate] = []
    with tempfile.TemporaryDirectory(prefix="smartbin-best-") as scratch:
        for number, run in enumerate(runs):
            console.print(f"[bold]{run.path}[/bold]: macro F1 {run.validation.macro_f1:.4f}", highlight=False)
            tried.append(_try(arguments, run, Path(scratch) / str(number)))
            if not tried[-1].against:
                break
        Console(width=max(_TABLE_WIDTH, console.width)).print(_table(tried, runs))
        best = tried[-1]
        if best.against or best.bundle is None:
            raise ExportError(
                "no run keeps the limits",
                where=f"{len(runs)} runs, {arguments.precision} for {arguments.target}",
                found="; ".join(f"{item.run.path.name}: {item.against}" for item in tried),
                expected=f"accuracy of {arguments.min_accuracy:g}, at most {arguments.max_latency_ms:g} ms",
                fix="ask for less, try another --precision, or train further",
            )
        with replace_folder(arguments.out) as folder:
            shutil.copytree(best.bundle.path, folder, dirs_exist_ok=True)
    others = "" if len(runs) == 1 else f", the highest macro F1 of those of {len(runs)} runs that keep the limits"
    print(f"chosen:  {best.run.path}{others}")
    print(written(read_bundle(arguments.out)))
    return 0


def _check_comparable(runs: Sequence[TrainedRun]) -> None:
    """`ConfigError` unless all were validated on the same photos."""
    photos = [{name.partition("/")[2] for name in run.split.parts["val"]} for run in runs]
    for run, other in zip(runs, photos, strict=True):
        if other != photos[0]:
            raise ConfigError(
                "runs that were validated on different photos cannot be ranked",
                where=run.path,
                found=f"{len(other)} validation photos, {len(other & photos[0])} of them in {runs[0].path} as well",
                expected=f"the same {len(photos[0])} photos",
                fix="leave it out, or train it with the same --data, --split and --seed",
            )


def _try(arguments: argparse.Namespace, run: TrainedRun, out: Path) -> Candidate:
    """Export to `out`, measure, and hold it against the limits."""
    try:
        exported = export_bundle(run, export_options(arguments, run, arguments.precision, out))
    except ExportError as error:
        return Candidate(run, against=f"the export was refused: {error.what}")
    bundle, accuracy = exported.bundle, exported.validation.answers.accuracy
    latency_ms = math.nan
    if arguments.target == "cpu" or arguments.max_latency_ms < math.inf:
        latency_ms = _latency_ms(bundle, run, arguments)
    against = ""
    if accuracy < arguments.min_accuracy:
        against = f"accuracy {accuracy:.4f}"
    elif latency_ms > arguments.max_latency_ms:
        against = f"{latency_ms:.2f} ms"
    return Candidate(run, bundle, accuracy, latency_ms, against)


def _latency_ms(bundle: Bundle, run: TrainedRun, arguments: argparse.Namespace) -> float:
    """Median for one validation photo through the runtime of the target; an engine is built first."""
    photos = PhotoSet("latency", take_evenly(run.photos("val", arguments.data), _PHOTOS))
    images = [image[None] for batch in photos.batches(run.preprocess) for image in batch]
    if bundle.manifest.target == "tensorrt":
        settings = EngineSettings()
        build_here(bundle, settings, lambda phase, done, steps: None)
        classifier = open_classifier(bundle, "tensorrt", engine=settings)
    else:
        classifier = open_classifier(bundle, "onnxruntime-cpu", arguments.threads)
    timer = StageTimer(keep=_LAPS)  # the laps before warm up
    try:
        for lap in range(_WARM_UP + _LAPS):
            with timer.stage("classify"):
                classifier.classify(images[lap % len(images)])
    finally:
        classifier.close()
    return timer.summaries()["classify"].p50_ms


def _table(tried: Sequence[Candidate], runs: Sequence[TrainedRun]) -> Table:
    """All runs, best macro F1 first."""
    table = Table(title="runs by macro F1 of their validation", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("run", "macro F1", "accuracy", "exported", "ms", ""):
        table.add_column(name, justify="right" if name not in ("run", "") else "left", no_wrap=name == "run")
    names = [run.path.name for run in runs]
    for item in [*tried, *(Candidate(run, against="not tried: one before it is taken") for run in runs[len(tried) :])]:
        figures = item.run.validation
        exported = "–" if math.isnan(item.accuracy) else f"{item.accuracy:.4f}"
        latency = "–" if math.isnan(item.latency_ms) else f"{item.latency_ms:.2f}"
        name = item.run.path.name if names.count(item.run.path.name) == 1 else str(item.run.path)
        row = (name, f"{figures.macro_f1:.4f}", f"{figures.accuracy:.4f}", exported, latency)
        table.add_row(*row, item.against or "taken")
    return table
