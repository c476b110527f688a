"""Flags that `smartbin-export RUN` and `smartbin-export best` share, and the options that they make."""

from __future__ import annotations

import argparse
import datetime as dt
import math
import re
from pathlib import Path
from typing import get_args

from export.build import GOLDEN, ExportOptions
from export.parity import Precision
from smartbin.arguments import count, number
from smartbin.bundle import Bundle, Target
from smartbin.errors import ConfigError
from train.checkpoint import TrainedRun
from train.networks.feature_distance import USUAL_SHARE

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def add_bundle_flags(parser: argparse.ArgumentParser) -> None:
    """What a bundle is made for, of and with."""
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
    parser.add_argument("--limit", type=count, metavar="N", help="use at most N photos of each set, to try things out")
    parser.add_argument(
        "--unfamiliar",
        type=number(float, "a number of 0 or more", lambda value: 0 <= value < math.inf),
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


def export_options(arguments: argparse.Namespace, run: TrainedRun, precision: Precision, out: Path) -> ExportOptions:
    """Options of one bundle of `run`, to be written to `out`; `ConfigError` if that is a file."""
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


def written(bundle: Bundle) -> str:
    """Two lines for the console: where the bundle is and what to do with it."""
    if bundle.manifest.target == "tensorrt":
        step = f"on the device: smartbin engine build --bundle {bundle.path}"
    else:
        step = f"smartbin run --bundle {bundle.path}"
    return f"written: {bundle.path}\nnext:    {step}"
