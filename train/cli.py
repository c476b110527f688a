"""The command line of `train/run.py`: a flag for every field of `TrainConfig`, made from it and its docstring."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from smartbin.errors import ConfigError
from train.config import Augment, Machine, Recipe, TrainConfig, default_data_root, find_config
from train.datasets.sources import PARTS, Part
from train.networks.architectures import ARCHITECTURES
from train.run import COMMANDS

_SECTIONS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("recipe", Recipe, "recipe"),
    ("augment", Augment, "augmentation"),
    ("machine", Machine, "machine"),
)
_RENAMED = {"augment.enabled": "augment"}  # a flag name that would say too little


@dataclass(frozen=True, slots=True)
class Flag:
    """A command-line flag and the dotted key of the configuration that it sets."""

    name: str
    key: str
    field: FieldInfo


@dataclass(frozen=True, slots=True)
class TrainCommand:
    """What the command line of a training run says."""

    config: Path | None
    """Configuration file; a shipped one by its whole path."""
    resume: Path | None
    overrides: dict[str, object]


@dataclass(frozen=True, slots=True)
class EvaluateCommand:
    """What the command line of an evaluation says."""

    run: Path
    data: tuple[str, ...]
    data_root: Path
    part: Part
    lights: tuple[float, ...]
    out: Path | None
    machine: Machine


@dataclass(frozen=True, slots=True)
class ReportCommand:
    """Which run to report on, and where its photos are now, if they moved."""

    run: Path
    data: tuple[str, ...]


def parse_train(arguments: Sequence[str]) -> TrainCommand:
    """Parse the flags of a training run; exits with code 2 on a wrong one, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="train/run.py",
        description="Photos to a trained run directory.",
        epilog="other commands, each with its own --help: " + ", ".join(" ".join(words) for words in COMMANDS),
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=None,
        help="TOML file with any of these settings, or a shipped one: original_resnet50, original_inception_v3",
    )
    parser.add_argument("--resume", type=Path, default=None, metavar="RUN", help="continue a run that was stopped")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. brightness.enabled=false")
    keys = {}
    for title, flags in flag_groups():
        group = parser.add_argument_group(title)
        for flag in flags:
            keys[_add(group, flag)] = flag.key
    known = vars(parser.parse_args(arguments))
    overrides = {key: known[name] for name, key in keys.items() if name in known}
    for assignment in known["set"]:
        key, equals, value = assignment.partition("=")
        if not equals:
            parser.error(f"--set {assignment}: must be KEY=VALUE")
        overrides[key] = value
    config = None if known["config"] is None else find_config(known["config"])
    return TrainCommand(config, known["resume"], overrides)


def parse_evaluate(arguments: Sequence[str]) -> EvaluateCommand:
    """Parse what follows `evaluate`."""
    parser = argparse.ArgumentParser(prog="train/run.py evaluate", description="A finished run on other photos.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "--data", nargs="+", default=[], help="names or folders of class folders; without it the run's own photos"
    )
    parser.add_argument("--data-root", type=Path, default=default_data_root(), help="where the named data sets are")
    parser.add_argument("--part", choices=PARTS, default="val", help="of the run's own photos (default: val)")
    parser.add_argument("--light", type=float, nargs="+", default=[1.0], help="parts of the light, such as 1 .25 .0625")
    parser.add_argument("--out", type=Path, help="where to write; default: evaluation.json in the run")
    _add_machine(parser)
    known = vars(parser.parse_args(arguments))
    return EvaluateCommand(
        run=known["run"],
        data=tuple(known["data"]),
        data_root=known["data_root"],
        part=known["part"],
        lights=tuple(known["light"]),
        out=known["out"],
        machine=_machine(known),
    )


def parse_report(arguments: Sequence[str]) -> ReportCommand:
    """Parse what follows `report`."""
    parser = argparse.ArgumentParser(prog="train/run.py report", description="Make a run's report again.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    add_moved_data(parser)
    known = vars(parser.parse_args(arguments))
    return ReportCommand(known["run"], tuple(known["data"]))


def add_moved_data(parser: argparse.ArgumentParser) -> None:
    """Add `--data` for commands on a run whose photos may have moved, see `TrainedRun.photos`."""
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="where the photos are now, if they moved; NAME=FOLDER for each of several sources",
    )


def png_file(text: str) -> Path:
    """A file for a PNG, of a flag: nothing else is written under another suffix."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"must end in .png, but is {text}")
    return Path(text)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    for name, field in Machine.model_fields.items():
        _add(group, Flag(name, name, field))


def _machine(known: dict[str, object]) -> Machine:
    """The machine's settings among parsed flags; `ConfigError` for a wrong value."""
    given = {name: known[name] for name in Machine.model_fields if known.get(name) is not None}
    try:
        return Machine.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        key = "--" + str(problem["loc"][0])
        raise ConfigError("wrong value", where=key, found=problem["input"], expected=problem["msg"]) from error


def flag_groups() -> Iterator[tuple[str, list[Flag]]]:
    """All flags, group by group."""
    sections = {name for name, _, _ in _SECTIONS} | {"brightness"}
    top = [Flag(name, name, field) for name, field in TrainConfig.model_fields.items() if name not in sections]
    yield "run", top
    for prefix, model, title in _SECTIONS:
        keys = {f"{prefix}.{name}": field for name, field in model.model_fields.items()}
        yield title, [Flag(_RENAMED.get(key, key.split(".")[1]), key, field) for key, field in keys.items()]


def _add(group: argparse._ArgumentGroup, flag: Flag) -> str:
    """Add the flag to its group; returns the name of its value, which stays text: the model converts and checks it."""
    text = (flag.field.description or "").replace("\n", " ").replace("%", "%%")
    if flag.field.default is not None and not flag.field.is_required() and flag.field.default_factory is None:
        text += f" (default: {flag.field.default})" if flag.field.default != "" else ""
    option = "--" + flag.name.replace("_", "-")
    if flag.field.annotation is bool:
        action = group.add_argument(option, action=argparse.BooleanOptionalAction, help=text)
    else:
        choices = _choices(flag)
        shown = "|".join(choices) if choices else flag.name.upper()
        several = "+" if get_origin(flag.field.annotation) is tuple else None
        given_again = "extend" if several else "store"
        action = group.add_argument(option, help=text, metavar=shown, nargs=several, action=given_again)
    return action.dest


def _choices(flag: Flag) -> list[str]:
    if flag.key == "model":
        return [*ARCHITECTURES, "timm:NAME"]
    values = get_args(flag.field.annotation)
    return [value for value in values if isinstance(value, str)]
