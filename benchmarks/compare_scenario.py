"""smartbin beside named peers, from the frame in memory to the answer, on the same photos and the same cores.

A peer that is not installed, or wants a trained run that is not given, is a row that says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contender import Contender, Model, StartUp
from benchmarks.laps import WARM_UP, Laps
from benchmarks.peers import open_notebook, open_opencv_loop, open_smartbin, open_ultralytics
from benchmarks.photos import accuracy, agreement, photos_below
from benchmarks.report import LATENCY_COLUMNS, Cell, Measurement, Table
from benchmarks.side_process import SideProcess
from smartbin.bundle import read_bundle
from smartbin.errors import ConfigError, SmartbinError
from smartbin.images import BgrImage, read_image
from smartbin.runtime import RuntimeName

NOTEBOOK = "original notebook: PIL, torchvision, torch"
ULTRALYTICS = "ultralytics: YOLO(file).predict"
OPENCV_LOOP = "OpenCV: resize, net.forward"


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """`run` is what the peers that need torch take; `runtimes` are those that smartbin runs in."""

    bundles: Sequence[Path]
    run: Path | None
    photos: Path
    names: Path | None
    limit: int
    runtimes: Sequence[RuntimeName]
    threads: int
    device: str
    laps: Laps


@dataclass(slots=True)
class _Pipeline:
    """One row. `open_model` is None where `remark` says why there is none."""

    name: str
    classes: tuple[str, ...] = ()
    open_model: Callable[[], Model[BgrImage]] | None = None
    remark: str = ""
    process: SideProcess[Contender[BgrImage, BgrImage]] | None = None
    answers: list[str] = field(default_factory=list)
    start_up: StartUp = field(default_factory=lambda: StartUp("", 0, 0))


def run_compare(options: CompareOptions) -> Table:
    """Open every pipeline in a process of its own and time them in turn. Blocks for minutes."""
    paths = photos_below(options.photos, options.limit, options.names)
    with TemporaryDirectory(prefix="smartbin-bench-") as folder, ExitStack() as stack:
        pipelines = [*_ours(options), *_peers(options, Path(folder))]
        for pipeline in pipelines:
            _open(pipeline, paths, options.threads, stack)
        running = {item.name: item.process for item in pipelines if item.process is not None}
        if pipelines[0].process is None:
            raise ConfigError("smartbin itself could not be opened", where="compare", found=pipelines[0].remark)
        laps = {name: partial(process.ask, Contender.lap, 1) for name, process in running.items()}
        samples = options.laps.run(laps)
    first = pipelines[0]
    measured = [
        Measurement.of(item.name, samples.get(item.name, []), WARM_UP, accuracy(item.answers, paths, item.classes))
        if item.process is not None
        else Measurement(item.name, (), 0)
        for item in pipelines
    ]
    fastest_ms = measured[0].latency.p50_ms
    rows = [_row(item, found, fastest_ms, first.answers) for item, found in zip(pipelines, measured, strict=True)]
    return Table("compare", _COLUMNS, tuple(rows), (
        f"{len(paths)} photos below `{options.photos.name}`, decoded before; each pipeline in a process of its own on "
        f"{options.threads} of the machine's cores, all take turns.",
        f"times and same answers: against `{first.name}`; start-up: imports, loading, first answer.",
        "The original notebook and ultralytics run the network of --run in float32, OpenCV the first bundle's file.",
    ), tuple(measured))  # fmt: skip


_COLUMNS = (
    "pipeline", *LATENCY_COLUMNS, "times", "accuracy", "same answers", "start-up s", "memory MB", "remark"
)  # fmt: skip


def _ours(options: CompareOptions) -> list[_Pipeline]:
    found = []
    for path in options.bundles:
        manifest = read_bundle(path).manifest
        for runtime in options.runtimes:
            name = f"smartbin: {manifest.name} {manifest.precision}, {runtime}"
            open_model = partial(open_smartbin, path.resolve(), runtime, options.threads)
            found.append(_Pipeline(name, manifest.classes, open_model))
    return found


def _peers(options: CompareOptions, folder: Path) -> list[_Pipeline]:
    first = options.bundles[0].resolve()
    opencv = _Pipeline(OPENCV_LOOP, read_bundle(first).manifest.classes, partial(open_opencv_loop, first))
    if options.run is None:
        return [*(_Pipeline(name, remark="needs --run RUN") for name in (NOTEBOOK, ULTRALYTICS)), opencv]
    try:
        from benchmarks.plain_onnx import write_plain_onnx
        from train.checkpoint import load_run
    except ImportError as error:
        raise ConfigError("--run needs torch", found=error, fix="pip install 'smartbin[export]'") from error

    run, path, plain = load_run(options.run), options.run.resolve(), folder / "plain.onnx"
    notebook = partial(open_notebook, path, options.device, options.threads)
    ultralytics = _Pipeline(
        ULTRALYTICS, run.classes, partial(open_ultralytics, plain, run.preprocess.size, options.threads)
    )
    write_plain_onnx(path, plain)
    return [_Pipeline(NOTEBOOK, run.classes, notebook), ultralytics, opencv]


def _open(pipeline: _Pipeline, paths: Sequence[Path], threads: int, stack: ExitStack) -> None:
    """Start its process and take its answers; what cannot be opened gets a remark instead."""
    if pipeline.open_model is None:
        return
    process = stack.enter_context(SideProcess(partial(_contender, pipeline.open_model, paths, threads)))
    try:
        process.wait_until_started()
        pipeline.answers = [pipeline.classes[index] for index in process.ask(Contender.answers)]
    except SmartbinError as error:
        pipeline.remark = error.what if error.fix is None else f"{error.what}: {error.fix}"
        return
    pipeline.process, pipeline.start_up = process, process.ask(Contender.start_up)
    pipeline.remark = pipeline.start_up.runtime


def _contender(
    open_model: Callable[[], Model[BgrImage]], paths: Sequence[Path], threads: int
) -> Contender[BgrImage, BgrImage]:
    photos = [read_image(path) for path in paths]
    if not hasattr(os, "sched_setaffinity"):
        return Contender(open_model, photos, _only, threads)
    cores = sorted(os.sched_getaffinity(0))[:threads]
    for thread in _threads():  # some peers have no setting for their threads; numpy has started its own before
        with suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(thread, cores)
    contender = Contender(open_model, photos, _only, threads)
    # libraries can let their threads run anywhere, whatever the process was given
    if elsewhere := {core for thread in _threads() for core in _cores_of(thread)} - set(cores):
        raise ConfigError(
            "its threads left the cores that it was given",
            found=f"also on cores {elsewhere}",
            expected=f"cores {cores}",
        )
    return contender


def _threads() -> list[int]:
    """Numbers of this process's threads, as Linux counts them."""
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]


def _cores_of(thread: int) -> set[int]:
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:
        return set()


def _only(frames: Sequence[BgrImage]) -> BgrImage:
    (frame,) = frames
    return frame


def _row(pipeline: _Pipeline, found: Measurement, first_ms: float, reference: Sequence[str]) -> tuple[Cell, ...]:
    if pipeline.process is None:
        return (pipeline.name, *found.cells, None, None, None, None, None, pipeline.remark)
    start = pipeline.start_up
    return (
        pipeline.name, *found.cells, found.latency.p50_ms / first_ms, found.accuracy,
        agreement(pipeline.answers, reference), start.seconds, start.memory_mb, pipeline.remark,
    )  # fmt: skip
