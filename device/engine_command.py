"""`smartbin engine build | list | clear`: TensorRT engines of this device."""

from __future__ import annotations

import argparse
import logging
import sys
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from device.bundles import choose_bundle
from device.config import DeviceConfig, load_config
from smartbin.engine.cache import DamagedEntryError
from smartbin.engine.opening import build_here, engine_cache

_MB = 1e6


def engine(options: argparse.Namespace) -> int:
    """The exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    config = _config(options)
    if options.action == "list":
        return _list(config)
    if options.action == "clear":
        cache = engine_cache(config.engine)
        print(f"deleted {cache.clear()} engines below {cache.root}")
        return 0
    return _build(config, force=options.force)


def _config(options: argparse.Namespace) -> DeviceConfig:
    given = vars(options)
    flags = ("max_batch", "workspace_mb", "dla_core", "effort")
    overrides = {f"engine.{name}": given.get(name) for name in flags}
    return load_config(options.config, {**overrides, "runtime.bundle": given.get("bundle")})


def _build(config: DeviceConfig, *, force: bool) -> int:
    bundle = choose_bundle(config.runtime.bundle, config.bundles)
    manifest = bundle.manifest
    print(f"{manifest.name} {manifest.version} ({manifest.precision}): this takes minutes, once", file=sys.stderr)
    with BuildProgress() as progress:
        entry, built = build_here(bundle, config.engine, progress, force=force)
    record = entry.record
    how = (
        f"built in {record.build_seconds:.0f} s"
        if built
        else f"was built on {record.built_utc}; --force builds it again"
    )
    print(f"{record.key.gpu}, TensorRT {record.key.tensorrt}: {how}")
    print(f"{record.plan_bytes / _MB:.1f} MB in {entry.path}")
    return 0


def _list(config: DeviceConfig) -> int:
    cache = engine_cache(config.engine)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("engine", "precision", "input", "batch", "TensorRT", "GPU", "MB", "built"):
        table.add_column(name, overflow="fold")
    for entry in cache.entries():
        if isinstance(entry, DamagedEntryError):
            table.add_row(entry.folder.name, "damaged: build it again", style="red")
            continue
        key, record = entry.record.key, entry.record
        size, batch = f"{key.size} px", f"1 to {key.options.max_batch}"
        megabytes = f"{record.plan_bytes / _MB:.1f}"
        table.add_row(entry.path.name, key.precision, size, batch, key.tensorrt, key.gpu, megabytes, record.built_utc)
    console = Console()
    console.print(table if table.row_count else "no engines yet: smartbin engine build")
    console.print(f"in {cache.root}", highlight=False, soft_wrap=True)
    return 0


class BuildProgress:
    """A bar for each phase of a build, on stderr; where that is no terminal, a line for each."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self._console, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> BuildProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, phase: str, done: int, steps: int) -> None:
        """Show that `done` of `steps` are done in a phase."""
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(phase, total=steps)
            if not self._console.is_terminal:
                self._console.print(phase, highlight=False)
        self._bars.update(self._tasks[phase], completed=done)
