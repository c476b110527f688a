"""Train: photos of a folder to a run directory. Installed as `smartbin-train`.

```
python train/run.py --data garbage --model efficientnet_lite0 --weights imagenet
python train/run.py --resume runs/RUN
torchrun --nproc-per-node=4 train/run.py --data garbage
python train/run.py evaluate RUN --data FOLDER --light 1 0.25
python train/run.py report RUN
python train/run.py compare RUN RUN --out FOLDER
python train/run.py cache clear
python train/run.py data fetch garbage
python train/run.py data list
python train/run.py study dark --data garbage
```
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from smartbin.config import load_settings
from smartbin.errors import CheckpointError, ConfigError, run_cli
from train.checkpoint import CONFIG_FILE, MODEL_FILE, load_run
from train.cli import TrainCommand, parse_evaluate, parse_report, parse_train
from train.config import TrainConfig, find_config, resolve
from train.console import say
from train.evaluate import evaluate
from train.loop import train
from train.ranks import end_ranks, rank, ranks
from train.report import REPORT_FILE, write_report
from train.stopping import Stopped

# By a resumed run: nothing of it changes how the network is trained. The blend is taken anew whenever a run finishes.
_CHANGEABLE = ("data", "data_root", "teacher", "machine.", "recipe.blend")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `smartbin-train`; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for words, command in _COMMANDS.items():
        if tuple(given[: len(words)]) == words:
            return run_cli(partial(_alone, command, given[len(words) :]))
    return run_cli(lambda: _train(parse_train(given)))


def _alone(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command that several processes must not run together."""
    if ranks() > 1:
        raise ConfigError("only a training run is for torchrun", found=f"{ranks()} processes", fix="start it by python")
    return command(arguments)


def _train(command: TrainCommand) -> int:
    resume = command.resume is not None
    config, path = _resumed(command) if resume else _new(command)
    try:
        train(config, path, resume=resume)
    except Stopped as stopped:
        say(f"stopped by {stopped}; state saved. Continue with: python train/run.py --resume {path}")
        end_ranks()
        return 128 + stopped.number
    end_ranks()
    if rank() == 0:
        _conclude(path)
    return 0


def _evaluate(arguments: list[str]) -> int:
    command = parse_evaluate(arguments)
    evaluate(
        command.run,
        data=command.data,
        data_root=command.data_root,
        part=command.part,
        lights=command.lights,
        machine=command.machine,
        out=command.out,
    )
    return 0


def _report(arguments: list[str]) -> int:
    command = parse_report(arguments)
    write_report(command.run, command.data)
    say(f"written: {command.run / REPORT_FILE}")
    return 0


def _cache(arguments: list[str]) -> int:
    from train.cache_command import cache_command

    return cache_command(arguments)


def _audit(arguments: list[str]) -> int:
    from train.audit.command import audit_command  # what it needs takes seconds to import

    return audit_command(arguments)


def _new(command: TrainCommand) -> tuple[TrainConfig, Path]:
    file = find_config(command.config) if command.config else None
    config = resolve(load_settings(TrainConfig, file, command.overrides))
    path = config.out or Path("runs") / f"{config.model.replace(':', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    if rank() == 0 and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(
            "the run directory is in use",
            where=path,
            found="files in it",
            expected="a new or an empty folder",
            fix=f"another --out, or continue that run: --resume {path}",
        )
    return config, path


def _resumed(command: TrainCommand) -> tuple[TrainConfig, Path]:
    path = command.resume
    assert path is not None
    file = path / CONFIG_FILE
    if not file.is_file():
        raise CheckpointError("nothing to resume here", where=path, expected=f"a run directory with {CONFIG_FILE}")
    if fixed := [key for key in command.overrides if not key.startswith(_CHANGEABLE)]:
        raise ConfigError(
            "a resumed run keeps its settings",
            where="the command line",
            found=", ".join(fixed),
            expected="no setting besides data, data_root, teacher, blend and those of the machine",
            fix="start a new run with --out",
        )
    return load_settings(TrainConfig, file, command.overrides), path


def _conclude(path: Path) -> None:
    run = load_run(path)
    figures = run.validation
    say(
        f"validation: accuracy {figures.accuracy:.4f} ({figures.interval_low:.4f} to {figures.interval_high:.4f}), "
        f"macro F1 {figures.macro_f1:.4f}, {figures.photos} photos"
    )
    say(f"run: {path} ({MODEL_FILE}, {REPORT_FILE})")
    say(f"next: python export/run.py {path} --precision int8 --out bundles/{path.name}")


def _data_fetch(arguments: list[str]) -> int:
    from train.fetch import fetch_data

    return fetch_data(arguments)


def _data_list(arguments: list[str]) -> int:
    from train.data_list import list_data

    return list_data(arguments)


def _data_preview(arguments: list[str]) -> int:
    from train.preview import preview_data

    return preview_data(arguments)


def _study(arguments: list[str]) -> int:
    from train.study import study_command  # its imports are not for a plain training run

    return study_command(arguments)


def _compare(arguments: list[str]) -> int:
    from train.compare import compare_command

    return compare_command(arguments)


def _data_groups(arguments: list[str]) -> int:
    from train.groups_command import groups_command

    return groups_command(arguments)


def _folds(arguments: list[str]) -> int:
    from train.folds import folds_command

    return folds_command(arguments)


_COMMANDS: Mapping[tuple[str, ...], Callable[[list[str]], int]] = {
    ("evaluate",): _evaluate,
    ("report",): _report,
    ("compare",): _compare,
    ("cache",): _cache,
    ("data", "fetch"): _data_fetch,
    ("data", "list"): _data_list,
    ("data", "preview"): _data_preview,
    ("data", "groups"): _data_groups,
    ("folds",): _folds,
    ("study",): _study,
    ("data", "audit"): _audit,
}
"""First words of the command line to what takes the rest; anything else is a training run."""


if __name__ == "__main__":
    raise SystemExit(main())
