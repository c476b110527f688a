"""`train/run.py data audit`: a report on a data set, before anything is trained on it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from smartbin.config import load_settings
from smartbin.errors import ConfigError, DataError
from train.audit.records import AUDIT_FILE, Audit
from train.config import TrainConfig, default_data_root
from train.console import say
from train.datasets.named_sets import NAMED_SETS

_NEEDED = {"sklearn": "scikit-learn", "cleanlab": "cleanlab"}
_MODEL = "efficientnet_lite2"
_ALIKE = 0.88
_SHOWN = 48


@dataclass(frozen=True, slots=True)
class AuditCommand:
    """What the command line of an audit says."""

    config: TrainConfig
    run: Path | None
    model: str
    weights: str
    labels: bool
    alike: float
    shown: int
    out: Path | None
    strict: bool


def audit_command(arguments: list[str]) -> int:
    """Audit a data set and write the report; returns 0, also with findings.

    With `--strict`, broken files and copies across parts of the split are a `DataError` after the report is written.
    """
    command = parse_audit(arguments)
    _check_libraries()
    # here, since scikit-learn and cleanlab come with an extra that training does not need
    from train.audit.network import FrozenNetwork, network_of_run, network_of_weights
    from train.audit.report import check_place, write_audit
    from train.audit.survey import survey
    from train.datasets.photos import open_data
    from train.machine import open_fabric

    data = open_data(command.config)
    out = command.out or Path("audits") / data.name
    check_place(out)
    network: FrozenNetwork | None = None
    if command.labels:
        device = open_fabric(command.config.machine).device
        network = (
            network_of_run(command.run, device)
            if command.run
            else network_of_weights(command.model, command.weights, device)
        )
    found = survey(data, network, command.alike)
    write_audit(found, out, command.shown)
    for line in summary(found.audit):
        say(line)
    say(f"written: {out}")
    if command.strict:
        _refuse(found.audit, out)
    return 0


def parse_audit(arguments: Sequence[str]) -> AuditCommand:
    """Parse what follows `data audit`."""
    parser = argparse.ArgumentParser(
        prog="train/run.py data audit",
        description="A report on a data set: counts, broken files, duplicates, light and colour, likely label errors.",
    )
    parser.add_argument("data", nargs="+", metavar="NAME|FOLDER", help=f"{', '.join(NAMED_SETS)}, or folders")
    parser.add_argument("--data-root", type=Path, default=default_data_root(), help="where named data sets are")
    parser.add_argument("--classes", help="as in training; default: any folders, or a named set's own")
    parser.add_argument("--split", default="auto", help="whose parts to look for leaks between, as in training")
    parser.add_argument("--seed", type=int, default=0, help="of a seeded split (default: 0)")
    parser.add_argument("--limit", type=int, default=0, help="photos per class, part and source; 0: all (default)")
    eye = parser.add_mutually_exclusive_group()
    eye.add_argument("--run", type=Path, help="check labels with the network of this run")
    eye.add_argument("--weights", default="imagenet", help="check them with these starting weights (default: imagenet)")
    parser.add_argument("--model", default=_MODEL, help=f"architecture of the weights (default: {_MODEL})")
    parser.add_argument(
        "--labels", action=argparse.BooleanOptionalAction, default=True, help="check labels, look-alikes"
    )
    text = f"cosine of features above which photos show one item; 1: never (default: {_ALIKE})"
    parser.add_argument("--alike", type=float, default=_ALIKE, help=text)
    parser.add_argument("--shown", type=int, default=_SHOWN, help=f"photos in a gallery at most (default: {_SHOWN})")
    parser.add_argument("--out", type=Path, help="folder of the report (default: audits/NAME)")
    parser.add_argument("--strict", action="store_true", help="fail if a file is broken or copies straddle the split")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="of the network")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the network; 0: torch's choice")
    known = parser.parse_args(arguments)
    if not 0 < known.alike <= 1:
        raise ConfigError("wrong value", where="--alike", found=known.alike, expected="above 0, at most 1")
    if known.shown < 0:
        raise ConfigError("wrong value", where="--shown", found=known.shown, expected="0 or more")
    return AuditCommand(
        config=_config(known),
        run=known.run,
        model=known.model,
        weights=known.weights,
        labels=known.labels,
        alike=known.alike,
        shown=known.shown,
        out=known.out,
        strict=known.strict,
    )


def summary(audit: Audit) -> list[str]:
    """The findings in a line each, for the console."""
    copies = audit.copies
    lines = [
        f"{audit.photos} photos, {len(audit.broken)} broken, {len(audit.outliers)} dark, bright, blurred or uniform",
        f"copies: {copies.exact_photos} photos are the same file as another, {copies.near_photos} are near another; "
        f"{len(copies.conflicts)} groups with several labels, {len(copies.leaks)} groups across parts",
    ]
    if audit.alike:
        lines.append(f"look-alikes: {audit.alike.val_in_training} validation photos have their like in training")
    if audit.shortcuts:
        worst = max(audit.shortcuts, key=lambda entry: entry.skill)
        told = f"{worst.balanced:.2f} mean recall, chance {worst.chance:.2f}"
        lines.append(f"short cuts: the {worst.target} can be told from {worst.kind} statistics, {told}")
    if audit.labels:
        lines.append(f"labels: {len(audit.labels.suspects)} to be looked at")
    else:
        lines.append(f"labels were not checked: {audit.labels_note}")
    lines += [f"note: {note}" for note in audit.notes]
    return lines


def _config(known: argparse.Namespace) -> TrainConfig:
    named = all(name in NAMED_SETS for name in known.data)
    overrides = {
        "data": list(known.data),
        "data_root": known.data_root,
        "classes": known.classes or ("auto" if named else "any"),
        "split": known.split,
        "seed": known.seed,
        "limit": known.limit,
        "min_photos": 3,
        "machine.device": known.device,
        "machine.threads": known.threads,
    }
    return load_settings(TrainConfig, None, overrides)


def _check_libraries() -> None:
    if missing := [package for module, package in _NEEDED.items() if find_spec(module) is None]:
        raise ConfigError(
            "libraries of the audit are missing",
            found=f"no {', no '.join(missing)}",
            fix="python -m pip install 'smartbin[audit]', or from a checkout: python -m pip install '.[audit]'",
        )


def _refuse(audit: Audit, out: Path) -> None:
    leaks = audit.copies.leaks
    if audit.broken or leaks:
        raise DataError(
            "the data set does not pass",
            where=audit.data,
            found=f"{len(audit.broken)} broken files, {len(leaks)} groups of copies across parts",
            expected="neither",
            fix=f"see {out / AUDIT_FILE} and the report beside it",
        )
