"""From a trained run to a model bundle: `python export/run.py RUN --precision int8 --out DIR`, also `smartbin-export`.

The table of figures goes to stdout, progress to stderr, the bundle to --out; nothing is written if a gate refuses.
"""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

if not __package__:  # started as a file: make the repository importable, as an install would be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich import box
from rich.console import Console
from rich.table import Table

from export.build import GOLDEN, Exported, ExportOptions, export_bundle
from export.parity import Answers, Precision
from export.validate import metric
from smartbin.bundle import Bundle, Target
from smartbin.errors import ConfigError, run_cli
from train.checkpoint import TrainedRun, load_run
from train.networks.feature_distance import USUAL_SHARE

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
_TABLE_WIDTH = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `smartbin-export`: 0, or the exit code of the error that is printed."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    return run_cli(lambda: _export(options))


def build_parser() -> argparse.ArgumentParser:
    """The parser of `export/run.py`."""
    parser = argparse.ArgumentParser(
        prog="smartbin-export",
        description="Write a model bundle of a trained run, if the exported file passes its gates on real photos.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory made by train/run.py")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the bundle's folder; with several precisions, the folder of the bundles",
    )
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=["int8"], help="one or more (default: int8)"
    )
    parser.add_argument(
        "--target",
        choices=get_args(Target),
        default="cpu",
        help="what the graph is laid out for: cpu (ONNX Runtime; default) or tensorrt (`smartbin engine build` on the "
        "device makes an engine of it; ONNX Runtime runs it, too, but an int8 one slowly)",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="where the photos of the run are now, if they moved; NAME=FOLDER for each of several sources",
    )
    parser.add_argument(
        "--measure",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="folders of class folders, never trained on, to measure as well",
    )
    parser.add_argument("--name", help="name of the model (default: architecture-data)")
    parser.add_argument("--version", help="version of the model (default: today's date)")
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="use at most N photos of each set, to try things out"
    )
    parser.add_argument(
        "--unfamiliar",
        type=_share,
        default=None,
        metavar="SHARE",
        help="add the distance from the training photos, in the network's features, to the energy, scaled to SHARE of "
        "the energy's spread over the validation photos: holds back far more of other things, and of items in new "
        f"places (default: {USUAL_SHARE:g} where the run has kept its features; 0: off)",
    )
    parser.add_argument(
        "--golden",
        type=int,
        choices=range(GOLDEN + 1),
        default=GOLDEN,
        metavar="N",
        help=f"validation photos to put into the bundle for a device's self-test (default and most: {GOLDEN}; 0: none)",
    )
    parser.add_argument("--force", action="store_true", help="replace a bundle that is there; no gate is ever skipped")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, but got {text}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of 0 or more, but got {text}")
    return value


def _export(arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    run = load_run(arguments.run)
    precisions: list[Precision] = list(dict.fromkeys(arguments.precision))
    exported = []
    for precision in precisions:
        out: Path = arguments.out if len(precisions) == 1 else arguments.out / precision
        console.print(f"[bold]{precision}[/bold] of {run.path}")
        options = _options(arguments, run, precision, out)
        exported.append(export_bundle(run, options, report=lambda line: console.print(f"  {line}", highlight=False)))
    Console(width=max(_TABLE_WIDTH, console.width)).print(_table(exported))
    for item in exported:
        print(f"written: {item.bundle.path}\nnext:    {_next_step(item.bundle)}")
    return 0


def _next_step(bundle: Bundle) -> str:
    if bundle.manifest.target == "tensorrt":
        return f"on the device: smartbin engine build --bundle {bundle.path}"
    return f"smartbin run --bundle {bundle.path}"


def _options(arguments: argparse.Namespace, run: TrainedRun, precision: Precision, out: Path) -> ExportOptions:
    if out.is_file():
        raise ConfigError("cannot write a bundle here", where=out, found="a file", expected="a folder, new or empty")
    today = dt.datetime.now(dt.timezone.utc)
    return ExportOptions(
        precision=precision,
        out=out,
        name=arguments.name or re.sub(r"[^A-Za-z0-9._-]+", "-", f"{run.architecture}-{run.data}"),
        version=arguments.version or f"{today:%Y.%m.%d}",
        target=arguments.target,
        data=tuple(arguments.data),
        limit=arguments.limit,
        measure=tuple(arguments.measure),
        force=arguments.force,
        unfamiliar=arguments.unfamiliar,
        golden=arguments.golden,
    )


def _table(exported: Sequence[Exported]) -> Table:
    """One row a measured set and precision, and one for the checkpoint."""
    table = Table(title="the exported file, measured", title_justify="left", box=box.SIMPLE_HEAD)
    for name in (
        "precision",
        "MB",
        "photos",
        "number",
        "accuracy (95 %)",
        "macro-F1",
        "ECE",
        "as torch",
        "max diff",
    ):
        table.add_column(name, justify="left" if name in ("precision", "photos") else "right", no_wrap=True)
    for item in exported:
        table.add_row("torch", "", *_cells(item.validation.title, item.reference), "", "", "")
        parity, precision = item.parity, item.bundle.manifest.precision
        size = f"{item.bundle.model_path.stat().st_size / 1e6:.2f}"
        same = f"{parity.top1_agreement:.4f}", f"{parity.max_abs_probability_difference:.2g}"
        for measured in (item.validation, *item.others):
            first = measured is item.validation
            cells = *_cells(measured.title, measured.answers), f"{measured.calibration_error:.3f}"
            table.add_row(precision, size if first else "", *cells, *(same if first else ("", "")))
    return table


def _cells(title: str, answers: Answers) -> tuple[str, str, str, str]:
    row = metric(title, "exported", answers)
    accuracy = f"{row.accuracy:.3f} ({row.interval_low:.3f}–{row.interval_high:.3f})"
    return title, str(row.photos), accuracy, f"{row.macro_f1:.3f}"


if __name__ == "__main__":
    sys.exit(main())
