"""Every bundle in every runtime, and torch where a run is given, side by side on the same photos.

Speed, start-up, memory and size of a file stand in one row with the accuracy of that very file in that very runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.contender import Contender, Model, StartUp
from benchmarks.laps import WARM_UP, Laps
from benchmarks.photos import accuracy, agreement, photos_below
from benchmarks.report import LATENCY_COLUMNS, Cell, Measurement, Table
from benchmarks.runtimes import BUNDLE_RUNTIMES, ON_GPU, TORCH_RUNTIMES, open_bundle, open_run
from benchmarks.side_process import SideProcess
from smartbin.bundle import read_bundle
from smartbin.errors import ConfigError, SmartbinError
from smartbin.images import read_image
from smartbin.preprocess import PreprocessSpec, stack_inputs, to_input

BATCHES = (1, 4, 8)

Inputs = NDArray[np.uint8]
Process = SideProcess[Contender[Inputs, Inputs]]


@dataclass(frozen=True, slots=True)
class ClassifierOptions:
    """What to compare: `runtimes` of `benchmarks.runtimes.RUNTIMES`; `device` is where torch runs."""

    bundles: Sequence[Path]
    run: Path | None
    photos: Path
    names: Path | None
    limit: int
    runtimes: Sequence[str]
    threads: Sequence[int]
    device: str
    laps: Laps


@dataclass(slots=True)
class _Entry:
    """One file in one runtime. `model` says which network it is: entries of one model must agree."""

    label: str
    model: str
    runtime: str
    threads: int
    spec: PreprocessSpec
    classes: tuple[str, ...]
    size_bytes: int
    open_model: Callable[[], Model[Inputs]]
    answers: list[str] = field(default_factory=list)
    start_up: StartUp = field(default_factory=lambda: StartUp("", 0, 0))


def run_classifier(options: ClassifierOptions) -> Table:
    """Open every entry in a process of its own and time them in turn. Blocks for minutes."""
    entries = [entry for threads in options.threads for entry in _entries(options, threads)]
    paths = photos_below(options.photos, options.limit, options.names)
    with TemporaryDirectory(prefix="smartbin-bench-") as folder, ExitStack() as stack:
        files = _write_inputs(Path(folder), {entry.spec for entry in entries}, paths)
        opened, left_out = _open_all(entries, files, stack)
        if not opened:
            raise ConfigError("nothing to compare: no runtime could be opened", where="classifier", found=left_out)
        samples = {batch: _time(opened, batch, options.laps) for batch in BATCHES}
    rows, measured = _rows([entry for entry, _ in opened], samples, paths)
    notes = (
        "ratio and agreement: against the first row of the same network with the same batch and threads.",
        f"{len(paths)} photos below `{options.photos.name}`; each entry in a process of its own, all take turns.",
        "start-up: imports of the runtime, reading the file, first answer; memory: what that added to a process with "
        "numpy and OpenCV.",
        "ONNX Runtime as the daemon runs it: its threads do not spin between two frames.",
        *left_out,
    )
    return Table("classifier", _COLUMNS, tuple(rows), notes, tuple(measured))


_COLUMNS = (
    "model", "runtime", "threads", "batch", *LATENCY_COLUMNS, "images/s", "ratio", "accuracy", "agreement",
    "file MB", "start-up s", "memory MB",
)  # fmt: skip


def _entries(options: ClassifierOptions, threads: int) -> list[_Entry]:
    """Torch first, where there is a run, then ONNX Runtime on the CPU: what the others are compared with."""
    found: list[_Entry] = []
    if options.run is not None:
        found += [_run_entry(options, name, threads) for name in TORCH_RUNTIMES if name in options.runtimes]
    for path in options.bundles:
        manifest = (bundle := read_bundle(path)).manifest
        for name in BUNDLE_RUNTIMES:
            if name not in options.runtimes or (name in ON_GPU and threads != options.threads[0]):
                continue
            entry = _Entry(
                label=f"{manifest.name} {manifest.precision}",
                model=manifest.training.run,
                runtime=name,
                threads=threads,
                spec=manifest.preprocess,
                classes=manifest.classes,
                size_bytes=bundle.model_path.stat().st_size,
                open_model=partial(open_bundle, path.resolve(), name, threads),
            )
            found.append(entry)
    return found


def _run_entry(options: ClassifierOptions, runtime: str, threads: int) -> _Entry:
    assert options.run is not None
    try:
        from train.checkpoint import MODEL_FILE, load_run
    except ImportError as error:
        raise ConfigError("--run needs torch", found=str(error), fix="pip install 'smartbin[train]'") from error

    path = options.run.resolve()
    run = load_run(path)
    return _Entry(
        label=f"{run.architecture} fp32",
        model=path.name,
        runtime=runtime,
        threads=threads,
        spec=run.preprocess,
        classes=run.classes,
        size_bytes=(path / MODEL_FILE).stat().st_size,
        open_model=partial(open_run, path, runtime, options.device, threads),
    )


def _write_inputs(folder: Path, specs: set[PreprocessSpec], paths: Sequence[Path]) -> dict[PreprocessSpec, Path]:
    """The photos as network inputs, one file for each way of preprocessing: every process maps it."""
    files = {}
    images = [read_image(path) for path in paths]
    for number, spec in enumerate(specs):
        files[spec] = folder / f"inputs{number}.npy"
        np.save(files[spec], stack_inputs([to_input(image, spec) for image in images]))
    return files


def _open_all(
    entries: Sequence[_Entry], files: dict[PreprocessSpec, Path], stack: ExitStack
) -> tuple[list[tuple[_Entry, Process]], list[str]]:
    """The entries that could be opened, with their answers, and a note on each of the others."""
    opened: list[tuple[_Entry, Process]] = []
    left_out: list[str] = []
    for entry in entries:
        process = stack.enter_context(SideProcess(partial(_contender, entry, files[entry.spec])))
        try:
            process.wait_until_started()
            entry.answers = [entry.classes[index] for index in process.ask(Contender.answers)]
        except SmartbinError as error:
            found = "" if error.found is None else f": {' '.join(str(error.found).split())[:200]}"
            left_out.append(f"left out: {entry.label} in {entry.runtime}, {error.what}{found}.")
            continue
        entry.start_up = process.ask(Contender.start_up)
        opened.append((entry, process))
    return opened, list(dict.fromkeys(left_out))


def _contender(entry: _Entry, file: Path) -> Contender[Inputs, Inputs]:
    return Contender(entry.open_model, np.load(file, mmap_mode="r"), np.stack, entry.threads)


def _time(opened: Sequence[tuple[_Entry, Process]], batch: int, laps: Laps) -> list[list[float]]:
    """Milliseconds of a batch, for every entry in all laps; of a larger batch in a quarter of them, three at least."""
    candidates = {str(number): partial(process.ask, Contender.lap, batch) for number, (_, process) in enumerate(opened)}
    return list(laps.run(candidates, laps.count if batch == 1 else max(3, laps.count // 4)).values())


def _rows(
    entries: Sequence[_Entry], samples: dict[int, list[list[float]]], paths: Sequence[Path]
) -> tuple[list[tuple[Cell, ...]], list[Measurement]]:
    rows: list[tuple[Cell, ...]] = []
    measured: list[Measurement] = []
    for number, entry in enumerate(entries):
        alike = [other for other, item in enumerate(entries) if item.model == entry.model]
        reference = next((other for other in alike if entries[other].threads == entry.threads), alike[0])
        right = accuracy(entry.answers, paths, entry.classes)
        agreed = agreement(entry.answers, entries[reference].answers)
        start = entry.start_up
        for batch, timed in samples.items():
            name = f"{entry.label}, {start.runtime}, {entry.threads} threads, batch {batch}"
            twins = sum(item.name.startswith(name) for item in measured)
            found = Measurement.of(f"{name} ({twins + 1})" if twins else name, timed[number], WARM_UP, right, agreed)
            p50_ms = found.latency.p50_ms
            ratio = Measurement.of("reference", timed[reference], WARM_UP).latency.p50_ms / p50_ms
            rows.append((
                entry.label, start.runtime, entry.threads, batch, *found.cells, batch * 1000 / p50_ms, ratio,
                right, agreed, entry.size_bytes / 1e6, start.seconds, start.memory_mb,
            ))  # fmt: skip
            measured.append(found)
    return rows, measured
