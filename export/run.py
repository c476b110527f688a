"""From a trained run to a model bundle: `python export/run.py RUN --precision int8 --out DIR`, also `smartbin-export`.

`best RUN…` in place of RUN chooses among runs first, see `best.py`.

The table of figures goes to stdout, progress to stderr, the bundle to --out; nothing is written if a gate refuses.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file: make the repository importable, as an install would be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich import box
from rich.console import Console
from rich.table import Table

from export.arguments import PRECISIONS, add_bundle_flags, export_options, written
from export.best import best_parser, export_best
from export.build import Exported, export_bundle
from export.parity import Answers, Precision
from export.validate import metric
from smartbin.errors import run_cli
from train.checkpoint import load_run

_TABLE_WIDTH = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `smartbin-export`: 0, or the exit code of the error that is printed."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if given[:1] == ["best"]:
        choice = best_parser().parse_args(given[1:])
        return run_cli(lambda: export_best(choice))
    options = build_parser().parse_args(given)
    return run_cli(lambda: _export(options))


def build_parser() -> argparse.ArgumentParser:
    """The parser of `export/run.py`."""
    parser = argparse.ArgumentParser(
        prog="smartbin-export",
        description="Write a model bundle of a trained run, if the exported file passes its gates on real photos.",
        epilog="`smartbin-export best RUN…` chooses among several runs, see `smartbin-export best --help`.",
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
    add_bundle_flags(parser)
    return parser


def _export(arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    run = load_run(arguments.run)
    precisions: list[Precision] = list(dict.fromkeys(arguments.precision))
    exported = []
    for precision in precisions:
        out: Path = arguments.out if len(precisions) == 1 else arguments.out / precision
        console.print(f"[bold]{precision}[/bold] of {run.path}")
        options = export_options(arguments, run, precision, out)
        exported.append(export_bundle(run, options, report=lambda line: console.print(f"  {line}", highlight=False)))
    Console(width=max(_TABLE_WIDTH, console.width)).print(_table(exported))
    for item in exported:
        print(written(item.bundle))
    return 0


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
