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

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from smartbin.errors import ConfigError, run_cli

TRAIN = "train.start:train_command"
COMMANDS: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("evaluate",): "train.evaluate:evaluate_command",
        ("report",): "train.report.report:report_command",
        ("compare",): "train.report.compare:compare_command",
        ("cache",): "train.cache.command:cache_command",
        ("data", "fetch"): "train.fetching.fetch:fetch_data",
        ("data", "list"): "train.fetching.list_command:list_data",
        ("data", "preview"): "train.datasets.preview:preview_data",
        ("data", "groups"): "train.datasets.groups_command:groups_command",
        ("data", "audit"): "train.audit.command:audit_command",
        ("folds",): "train.study.folds:folds_command",
        ("study",): "train.study.command:study_command",
    }
)
"""First words of the command line to the function that takes the rest and returns the exit code. Anything else is a
training run. Only the function that is called is imported: torch alone takes seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `smartbin-train`; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for words, name in COMMANDS.items():
        if tuple(given[: len(words)]) == words:
            return run_cli(partial(_alone, name, given[len(words) :]))
    if given[:1] == ["data"]:
        return run_cli(partial(_data_alone, given[1:]))
    return run_cli(partial(_call, TRAIN, given))


def _call(name: str, arguments: list[str]) -> int:
    command: Callable[[list[str]], int] = resolve_name(name)
    return command(arguments)


def _alone(name: str, arguments: list[str]) -> int:
    """Run a command that several processes must not run together."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        from train.ranks import ranks

        if ranks() > 1:
            raise ConfigError("only a training run is for torchrun", found=f"{ranks()} processes", fix="use python")
    return _call(name, arguments)


def _data_alone(arguments: list[str]) -> int:
    """`data` without one of its commands: the list of them."""
    commands = [" ".join(words) for words in COMMANDS if words[0] == "data"]
    if arguments and arguments[0] not in ("-h", "--help"):
        raise ConfigError(
            "no such command",
            where="the command line",
            found=f"data {arguments[0]}",
            expected=", ".join(commands),
        )
    print("\n".join(["commands on data sets, each with its own --help:", *(f"  {name}" for name in commands)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
