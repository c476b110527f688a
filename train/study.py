"""A question answered by several runs: trained, measured, put into a table, a plot and a CSV. Command `study`.

```
python train/run.py study dark --data garbage --weights FILE --epochs 12
python train/run.py study models --models resnet50 inception_v3 --data-sets garbage combined --measure other_places/
```
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smartbin.config import load_settings
from smartbin.errors import DataError
from train.campaign import Variant, run_all
from train.checkpoint import load_run
from train.cli import TrainCommand, parse_train
from train.config import TrainConfig, find_config, resolve
from train.console import say
from train.photos import open_data
from train.stopping import Stopped
from train.study_measure import Condition, StudyRun, measure, source_conditions
from train.study_output import write_study
from train.study_plans import STUDIES, Choice, Study

_MODELS = ("efficientnet_lite0", "resnet50", "inception_v3")
_DATA_SETS = ("garbage", "recycle", "recycle-small", "combined")


def study_command(arguments: Sequence[str]) -> int:
    """The command `study NAME`; the exit code."""
    study, choice, command = parse_study(arguments)
    out = Path(str(command.overrides.pop("out", f"runs/study-{study.name}")))
    try:
        written = run_study(study, choice, command, out)
    except Stopped as stopped:
        say(f"stopped by {stopped}; what is done is kept. The same command again goes on")
        return 128 + stopped.number
    say("\n" + written.read_text(encoding="utf-8"))
    return 0


def run_study(study: Study, choice: Choice, command: TrainCommand, out: Path) -> Path:
    """Train and measure every run of the study below `out`, write `study.md`, `.csv` and `.png`; returns the first."""
    variants = _variants(study, choice, command)
    machine = variants[0].config.machine
    paths = run_all(variants, out)
    conditions = [*study.conditions(), *(Condition(folder.name, photos=folder) for folder in choice.measure)]
    runs = [
        StudyRun(name, run, measure(run.path, [*conditions, *source_conditions(run)], machine))
        for name, run in zip((variant.name for variant in variants), map(load_run, paths), strict=True)
    ]
    return write_study(study, runs, out)


def _variants(study: Study, choice: Choice, command: TrainCommand) -> list[Variant]:
    """Shipped or given configuration, then the study's base, the command line, and last what the run is about."""
    named = command.config or (Path(study.config) if study.config else None)
    file = find_config(named) if named else None
    variants: list[Variant] = []
    absent: dict[str, DataError] = {}
    for name, settings in study.runs(choice).items():
        given = {"data": ["garbage"], **study.base, **command.overrides, **settings}
        config = resolve(load_settings(TrainConfig, file, given))
        try:
            open_data(config)
        except DataError as error:
            absent[name] = error
        else:
            variants.append(Variant(name, config))
    if not variants:
        raise next(iter(absent.values()))
    for name, problem in absent.items():
        say(f"left out: {name}: {problem}")
    return variants


def parse_study(arguments: Sequence[str]) -> tuple[Study, Choice, TrainCommand]:
    """Parse what follows `study`; exits with code 2 on a wrong flag, as argparse does."""
    names = "\n".join(f"  {study.name:8} {study.question}" for study in STUDIES.values())
    parser = argparse.ArgumentParser(
        prog="train/run.py study",
        description="Several runs that answer a question.",
        epilog=f"studies:\n{names}\n\nEvery setting of train/run.py may follow; it holds for all runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("study", choices=list(STUDIES), metavar="NAME", help="one of those below")
    parser.add_argument("--models", nargs="+", default=list(_MODELS), help="for `models`: the networks")
    parser.add_argument("--data-sets", nargs="+", default=list(_DATA_SETS), help="for `models`: the data sets")
    parser.add_argument(
        "--measure", nargs="+", type=Path, default=[], metavar="FOLDER", help="other photos to score on"
    )
    known, rest = parser.parse_known_args(arguments)
    for folder in known.measure:
        if not folder.is_dir():
            parser.error(f"--measure {folder}: no such folder")
    choice = Choice(tuple(known.models), tuple(known.data_sets), tuple(folder.resolve() for folder in known.measure))
    command = parse_train(rest)
    if command.resume:
        parser.error("--resume: the same study command again goes on by itself")
    return STUDIES[known.study], choice, command
