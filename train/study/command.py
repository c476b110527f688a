"""A question answered by several runs: trained, measured, put into a table, a plot and a CSV. Command `study`.

```
python train/run.py study dark --data garbage --weights FILE --epochs 12
python train/run.py study models --models resnet50 inception_v3 --data-sets garbage combined --measure other_places/
python train/run.py study original --models resnet50=FILE inception_v3=FILE --data garbage --folds 5 --only "fold 4"
```
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from smartbin.config import load_settings
from smartbin.errors import ConfigError, DataError, SmartbinError, WeightsError
from train.checkpoint import load_run
from train.cli import TrainCommand, parse_train
from train.config import TrainConfig, find_config, resolve
from train.console import say
from train.datasets.photos import open_data
from train.datasets.sources import open_known, open_sources
from train.stopping import Stopped
from train.study.campaign import Variant, finished_variants, fold_variants, run_all
from train.study.measure import Condition, StudyRun, measure
from train.study.output import write_study
from train.study.plans import STUDIES, Choice, Network, Settings, Study

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
    if written:
        say("\n" + written.read_text(encoding="utf-8"))
    else:
        say("nothing to write yet: over folds, rows are compared on folds that all of them have finished")
    return 0


def run_study(study: Study, choice: Choice, command: TrainCommand, out: Path) -> Path | None:
    """Train and measure every run of the study below `out`, write `study.md`, `.csv` and `.png`; returns the first.

    With `choice.only` runs of these names are trained alone, with `choice.so_far` none; what is finished is measured
    and written, and None returned where that is no fold of every row.
    """
    variants = wanted = _variants(study, choice, command)
    others = _other_photos(wanted, choice.measure)
    if choice.only:
        run_all(_chosen(wanted, choice.only), out)
    if choice.only or choice.so_far:
        variants = finished_variants(wanted, out)
        if not variants and choice.only:
            return None
        if not variants:
            raise DataError("nothing of this study is finished", where=out, fix="the same command without --so-far")
    paths = run_all(variants, out)
    rows: dict[str, StudyRun] = {}
    for variant, run in zip(variants, map(load_run, paths), strict=True):
        found, probe = measure(run, [*study.conditions(), *others[variant.row]], variant.config.machine)
        row = rows.get(variant.row) or StudyRun(variant.row, (), ())
        row = replace(row, runs=(*row.runs, run), measurements=(*row.measurements, found))
        if variant.of:
            row = replace(row, folds=(*row.folds, variant.config.fold))
        rows[variant.row] = replace(row, probes=(*row.probes, probe))
    missing = [variant for variant in wanted if variant not in variants]
    return write_study(study, list(rows.values()), out, missing)


def _variants(study: Study, choice: Choice, command: TrainCommand) -> list[Variant]:
    """Shipped or given configuration, then the command line, and last what the run is about; a variant a fold."""
    variants: list[Variant] = []
    absent: dict[str, SmartbinError] = {}
    planned = study.runs(choice)
    for line in ignored_settings(planned, command.overrides):
        say(line)
    for name, settings in planned.items():
        own = dict(settings)
        shipped = str(own.pop("config", study.config))
        file = command.config or (find_config(Path(shipped)) if shipped else None)
        config = resolve(load_settings(TrainConfig, file, {"data": ["garbage"], **command.overrides, **own}))
        try:
            open_data(config)
        except (DataError, WeightsError) as error:  # a grouped split looks through weights of its own
            absent[name] = error
        else:
            variants += fold_variants(config, f"{name}, fold ", name) if config.folds else [Variant(name, config)]
    if not variants:
        raise next(iter(absent.values()))
    for name, problem in absent.items():
        say(f"left out: {name}: {problem}")
    return variants


def ignored_settings(runs: Mapping[str, Settings], given: Settings) -> list[str]:
    """A sentence for each setting of the command line that runs of the study do not take, since they set it."""
    lines = []
    for key, value in given.items():
        others = {name: own[key] for name, own in runs.items() if key in own and _plain(own[key]) != _plain(value)}
        if others:
            which = "any run" if len(others) == len(runs) else "; ".join(others)
            used = " or ".join(dict.fromkeys(_shown(other) for other in others.values()))
            lines.append(f"note: {key} {_shown(value)} does not hold for {which}: the study itself sets it to {used}")
    return lines


def _plain(value: object) -> list[object]:
    """Equal for what means the same on the command line, where all is text, and in a study's settings."""
    if isinstance(value, (list, tuple)):
        return [plain for item in value for plain in _plain(item)]
    try:
        return [float(str(value))]
    except ValueError:
        return [str(value)]


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "nothing"
    return str(value)


def _chosen(variants: Sequence[Variant], texts: Sequence[str]) -> list[Variant]:
    """Those with one of the texts in their name."""
    chosen = [variant for variant in variants if any(text in variant.name for text in texts)]
    if not chosen:
        raise ConfigError(
            "no run of this study is called so",
            where="--only",
            found="; ".join(texts),
            expected=f"part of one of these names: {'; '.join(variant.name for variant in variants)}",
        )
    return chosen


def _other_photos(variants: Sequence[Variant], folders: Sequence[Path]) -> dict[str, list[Condition]]:
    """For each row the folders to score it on: those of whose classes it knows all.

    A row that cannot be scored on a folder is told; `DataError` for a folder that is of no use to any.
    """
    configs = {variant.row: variant.config for variant in variants}
    conditions: dict[str, list[Condition]] = {row: [] for row in configs}
    if not folders:
        return conditions
    classes = {row: open_sources(one.data, one.data_root, one.classes)[1] for row, one in configs.items()}
    for folder in folders:
        problems: dict[str, DataError] = {}
        for row, known in classes.items():
            try:
                open_known([str(folder)], folder, known)
            except DataError as error:
                problems[row] = error
            else:
                conditions[row].append(Condition(folder.name, photos=folder))
        if len(problems) == len(classes):
            raise next(iter(problems.values()))
        for row, problem in problems.items():
            say(f"not measured: {row} on {folder.name}: {problem}")
    return conditions


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
    parser.add_argument(
        "--models",
        nargs="+",
        default=list(_MODELS),
        metavar="MODEL[=WEIGHTS]",
        help="for `models` and `original`: the networks, with starting weights of their own",
    )
    parser.add_argument("--data-sets", nargs="+", default=list(_DATA_SETS), help="for `models`: the data sets")
    parser.add_argument(
        "--measure", nargs="+", type=Path, default=[], metavar="FOLDER", help="other photos to score on"
    )
    parser.add_argument(
        "--rendered",
        default="",
        metavar="FOLDER",
        help="for `places`: pictures that a run of its own trains on as well",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="train runs with TEXT in their name alone, and write what is finished; the other machines train the rest",
    )
    parser.add_argument("--so-far", action="store_true", help="write what is finished; train nothing")
    known, rest = parser.parse_known_args(arguments)
    for folder in known.measure:
        if not folder.is_dir():
            parser.error(f"--measure {folder}: no such folder")
    study = STUDIES[known.study]
    conditions = [*(condition.name for condition in study.conditions()), *(folder.name for folder in known.measure)]
    if twice := [name for name, times in Counter(conditions).items() if times > 1]:
        parser.error(f"--measure: two conditions would be called {', '.join(twice)}; give the folder another name")
    if known.only and known.so_far:
        parser.error("--only trains and --so-far does not: give one of them")
    command = parse_train(rest)
    folders = tuple(folder.resolve() for folder in known.measure)
    networks = tuple(Network(*model.split("=", 1)) for model in known.models)
    choice = Choice(
        networks,
        tuple(known.data_sets),
        folders,
        command.overrides,
        rendered=known.rendered,
        so_far=known.so_far,
        only=tuple(known.only),
    )
    if command.resume:
        parser.error("--resume: the same study command again goes on by itself")
    if "fold" in command.overrides:
        parser.error("--fold: a study with --folds trains them all")
    return study, choice, command
