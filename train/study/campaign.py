"""Several runs that belong together: each is trained, continued or left alone, so that a kill loses nothing.

In: named configurations and a folder. Out: a finished run directory for each, below that folder. `folds` and `study`
call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smartbin.config import load_settings
from smartbin.errors import ConfigError
from train.checkpoint import CONFIG_FILE, MODEL_FILE
from train.config import TrainConfig
from train.console import say
from train.loop import train

_FREE = ("out", "data_root", "machine")  # settings that change nothing in the result


@dataclass(frozen=True, slots=True)
class Variant:
    """A run of a campaign: its folder's name and what it is trained with (a resolved configuration)."""

    name: str
    config: TrainConfig
    of: str = ""
    """What it is a fold of."""

    @property
    def row(self) -> str:
        """What its figures count for: its own name, or what it is a fold of."""
        return self.of or self.name


def fold_variants(config: TrainConfig, prefix: str, of: str = "") -> list[Variant]:
    """A variant for each fold of `config`, called by its number after `prefix`."""
    folds = range(config.folds)
    return [Variant(f"{prefix}{fold}", config.model_copy(update={"fold": fold}), of) for fold in folds]


def run_all(variants: Sequence[Variant], out: Path) -> list[Path]:
    """Bring every variant to its end in `out/NAME`; returns these run directories in order.

    Finished runs are left as they are, stopped ones continue. Raises `ConfigError` where a folder holds a run of other
    settings, `Stopped` after a signal, once the state is saved.
    """
    if len({variant.name for variant in variants}) < len(variants):
        raise ConfigError("variants of one name", found=[variant.name for variant in variants], expected="each once")
    for variant in variants:  # all of them before the first hour is spent
        _check_settings(variant, out / variant.name)
    for number, variant in enumerate(variants, 1):
        path = out / variant.name
        finished = _is_finished(path)
        say(f"run {number} of {len(variants)}: {variant.name}{' (finished before)' if finished else ''}")
        if not finished:
            _run(variant.config, path)
    return [out / variant.name for variant in variants]


def finished_variants(variants: Sequence[Variant], out: Path) -> list[Variant]:
    """Those that are finished below `out`; of folds those that every row has finished, so that rows can be compared."""
    done = [variant for variant in variants if _is_finished(out / variant.name)]
    if not any(variant.of for variant in variants):
        return done
    rows = dict.fromkeys(variant.row for variant in variants)
    common = set.intersection(*({variant.config.fold for variant in done if variant.row == row} for row in rows))
    return [variant for variant in done if variant.config.fold in common]


def _is_finished(path: Path) -> bool:
    return (path / MODEL_FILE).is_file()


def _run(config: TrainConfig, path: Path) -> None:
    train(config, path, resume=path.exists())  # `_check_settings` has seen that what is there is this run


def _check_settings(variant: Variant, path: Path) -> None:
    if not path.exists():
        return
    file = path / CONFIG_FILE
    if not file.is_file():
        raise ConfigError(
            "the folder of a run holds something else",
            where=path,
            found=f"no {CONFIG_FILE}",
            expected="a run directory, or nothing",
            fix="another --out",
        )
    before = load_settings(TrainConfig, file, {}, environment=False)
    if changed := changed_settings(before, variant.config):
        raise ConfigError(
            "a run of other settings is here",
            where=path,
            found=", ".join(changed),
            expected="the settings that it was begun with",
            fix="another --out, or remove that folder",
        )


def changed_settings(before: TrainConfig, now: TrainConfig) -> list[str]:
    """Dotted names of the settings that differ and matter for the result."""
    old, new = before.model_dump(), now.model_dump()
    changed = []
    for name in new:
        if name in _FREE or old[name] == new[name]:
            continue
        if isinstance(new[name], dict):
            changed += [f"{name}.{key}" for key in new[name] if old[name][key] != new[name][key]]
        else:
            changed.append(name)
    return changed
