"""A training run from the command line: started or resumed, and a word on where things are at its end.

Called by `train/run.py` when no other command is named.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from smartbin.config import load_settings
from smartbin.errors import CheckpointError, ConfigError
from train.checkpoint import CONFIG_FILE, MODEL_FILE, load_run
from train.cli import TrainCommand, parse_train
from train.config import TrainConfig, resolve
from train.console import say
from train.loop import train
from train.ranks import end_ranks, rank
from train.report.report import REPORT_FILE
from train.stopping import Stopped

# By a resumed run: nothing of it changes how the network is trained. The blend is taken anew whenever a run finishes.
_CHANGEABLE = ("data", "data_root", "extra", "teacher", "machine.", "recipe.blend")


def train_command(arguments: Sequence[str]) -> int:
    """Train as the command line says; returns the exit code, which after a signal is 128 and its number."""
    command = parse_train(arguments)
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
        _conclude(path, smoke=config.smoke)
    return 0


def _new(command: TrainCommand) -> tuple[TrainConfig, Path]:
    config = resolve(load_settings(TrainConfig, command.config, command.overrides))
    path = config.out or Path("runs") / f"{config.model.replace(':', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    if rank() == 0 and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(
            "the run directory is in use",
            where=path,
            found="files in it",
            expected="a new or an empty folder",
            fix="another --out"
            + (f", or continue that run: --resume {path}" if (path / CONFIG_FILE).is_file() else ""),
        )
    return config, path


def _resumed(command: TrainCommand) -> tuple[TrainConfig, Path]:
    path = command.resume
    assert path is not None
    file = path / CONFIG_FILE
    if not file.is_file():
        raise CheckpointError(
            "nothing to resume here",
            where=path,
            found=f"no {CONFIG_FILE}" if path.is_dir() else "no such folder",
            expected=f"a run directory, which has {CONFIG_FILE} from its beginning on",
            fix="check the path, or begin a run: --out",
        )
    recorded = _flat(resolve(load_settings(TrainConfig, file, environment=False)))
    config = resolve(load_settings(TrainConfig, file, command.overrides))
    fixed = [key for key, value in _flat(config).items() if value != recorded[key] and not key.startswith(_CHANGEABLE)]
    if command.config:
        fixed.append(f"--config {command.config}")
    if fixed:
        raise ConfigError(
            "a resumed run keeps its settings",
            where="the command line or the environment",
            found=", ".join(fixed),
            expected="no setting besides data, data_root, extra, teacher, blend and those of the machine",
            fix="start a new run with --out",
        )
    return config, path


def _flat(config: TrainConfig) -> dict[str, object]:
    """Settings by dotted key."""
    flat: dict[str, object] = {}
    for name, value in config.model_dump().items():
        flat.update(
            {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
        )
    return flat


def _conclude(path: Path, *, smoke: bool) -> None:
    run = load_run(path)
    figures = run.validation
    say(
        f"validation: accuracy {figures.accuracy:.4f} ({figures.interval_low:.4f} to {figures.interval_high:.4f}), "
        f"macro F1 {figures.macro_f1:.4f}, {figures.photos} photos"
    )
    say(f"run: {path} ({MODEL_FILE}, {REPORT_FILE})")
    precision = "fp32" if smoke else "int8"  # of a network that knows nothing the gates refuse an int8 file
    say(f"next: python export/run.py {path} --precision {precision} --out bundles/{path.name}")
