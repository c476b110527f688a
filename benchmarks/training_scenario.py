"""Training: smartbin's loop beside the original one, on the same photos and machine, epoch by epoch in turn, each in a
process of its own.

Photos a second, and seconds until a validation accuracy is reached. What smartbin does before its first epoch (reading,
decoding into a cache that is empty here, frozen parts computed ahead) counts among its seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.original_loop import EpochTimes, OriginalLoop, image_folders
from benchmarks.report import Cell, Table
from benchmarks.side_process import SideProcess
from smartbin.config import load_settings
from smartbin.errors import ConfigError
from train.cli import parse_train
from train.config import TrainConfig, resolve
from train.datasets.photos import open_data
from train.loop import run_epoch
from train.machine import describe_device, open_fabric
from train.machine_config import Machine
from train.networks.architectures import architecture_of
from train.set_up import set_up
from train.stopping import StopWish

ORIGINAL = "original loop"


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What to race with. `ours` are names and further flags of `train/run.py`, one candidate each."""

    photos: Path
    model: str
    weights: str
    freeze: int
    epochs: int
    target: float
    batch: int
    threads: int
    workers: int
    limit: int
    size: int
    device: str
    ours: dict[str, Sequence[str]]


@dataclass(slots=True)
class _Runner:
    """A candidate and what it has done so far."""

    name: str
    start: Callable[[], Callable[[], EpochTimes]]
    set_up_s: float = 0.0
    epochs: list[EpochTimes] = field(default_factory=list)

    def arrived(self, target: float) -> bool:
        return any(epoch.accuracy >= target for epoch in self.epochs)

    def seconds_to(self, target: float) -> float | None:
        """With everything before the first epoch; None if the target was not reached."""
        seconds = self.set_up_s
        for epoch in self.epochs:
            seconds += epoch.seconds
            if epoch.accuracy >= target:
                return seconds
        return None

    @property
    def photos_per_second(self) -> float:
        """Median over the epochs, of training alone."""
        return statistics.median(epoch.photos / epoch.train_s for epoch in self.epochs)


def run_training(options: TrainingOptions) -> Table:
    """Race the candidates; every one trains all epochs. Blocks for minutes to hours."""
    fabric = open_fabric(Machine(device=options.device, threads=options.threads))
    with TemporaryDirectory(prefix="smartbin-training-") as scratch, redirect_stdout(sys.stderr):
        data = open_data(_config(options, (), Path(scratch)))
        with image_folders({"train": data.train, "val": data.val}) as folders, ExitStack() as processes:
            starts = {ORIGINAL: partial(_original, options, folders, fabric.device)}
            for number, (name, flags) in enumerate(options.ours.items()):
                starts[name] = partial(_smartbin, options, flags, Path(scratch) / f"run{number}")
            runners = [_Runner(name, partial(_started, processes, start)) for name, start in starts.items()]
            _race(runners, options.epochs)
    return _table(options, runners, len(data.train), len(data.val), describe_device(fabric.device))


def _started(processes: ExitStack, start: Callable[[], Callable[[], EpochTimes]]) -> Callable[[], EpochTimes]:
    process = processes.enter_context(SideProcess(start))
    process.wait_until_started()
    return partial(process.ask, _call)


def _call(epoch: Callable[[], EpochTimes]) -> EpochTimes:
    return epoch()


def _race(runners: Sequence[_Runner], epochs: int) -> None:
    """Each lap is an epoch of every candidate, and begins with another one."""
    steps: dict[str, Callable[[], EpochTimes]] = {}
    for lap in range(epochs):
        for runner in [*runners[lap % len(runners) :], *runners[: lap % len(runners)]]:
            if runner.name not in steps:
                begun_s = time.perf_counter()
                steps[runner.name] = runner.start()
                runner.set_up_s = time.perf_counter() - begun_s
            runner.epochs.append(steps[runner.name]())
            last = runner.epochs[-1]
            print(
                f"lap {lap + 1}/{epochs} {runner.name}: {last.photos / last.train_s:.1f} photos/s, "
                f"accuracy {last.accuracy:.4f}, {last.seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )


def _config(options: TrainingOptions, flags: Sequence[str], scratch: Path) -> TrainConfig:
    plain = {
        "--data": str(options.photos), "--model": options.model, "--weights": options.weights,
        "--epochs": str(options.epochs), "--batch": str(options.batch), "--workers": str(options.workers),
        "--threads": str(options.threads), "--limit": str(options.limit), "--device": options.device,
        "--cache-dir": str(scratch / "cache"), "--freeze": str(options.freeze), "--plain-train-photos": "0",
    }  # fmt: skip
    command = parse_train([*(part for pair in plain.items() for part in pair), *flags])
    return resolve(load_settings(TrainConfig, command.config, command.overrides))


def _original(options: TrainingOptions, folders: Path, device: torch.device) -> Callable[[], EpochTimes]:
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    loop = OriginalLoop(
        folders,
        architecture_of(options.model),
        weights=options.weights,
        freeze=options.freeze,
        size=options.size,
        batch=options.batch,
        workers=options.workers,
        device=device,
    )
    return loop.epoch


def _smartbin(options: TrainingOptions, flags: Sequence[str], path: Path) -> Callable[[], EpochTimes]:
    training = set_up(_config(options, flags, path), path / "run")

    def epoch() -> EpochTimes:
        begun_s = time.perf_counter()
        record = run_epoch(training, StopWish())
        seconds = time.perf_counter() - begun_s
        photos = round(record.images_per_second * record.seconds)
        return EpochTimes(photos, record.seconds, seconds - record.seconds, record.val_accuracy)

    return epoch


def _table(options: TrainingOptions, runners: Sequence[_Runner], train: int, val: int, device: str) -> Table:
    reference = runners[0]
    rows: list[tuple[Cell, ...]] = []
    for runner in runners:
        whole_s = sum(epoch.seconds for epoch in runner.epochs)
        to_target_s, theirs_s = runner.seconds_to(options.target), reference.seconds_to(options.target)
        rows.append(
            (
                runner.name,
                runner.photos_per_second,
                runner.photos_per_second / reference.photos_per_second,
                runner.set_up_s,
                whole_s,
                sum(epoch.seconds for epoch in reference.epochs) / (whole_s + runner.set_up_s),
                to_target_s,
                theirs_s / to_target_s if theirs_s and to_target_s else None,
                runner.epochs[-1].accuracy,
                max(epoch.accuracy for epoch in runner.epochs),
            )
        )
    frozen = f"the first {options.freeze} children frozen" if options.freeze else "the whole network trained"
    notes = [
        f"{options.model}, {frozen}, {train} training and {val} validation photos, batches of {options.batch}, "
        f"{options.epochs} epochs in turn; {device}, {options.workers} loader processes each.",
        f"{ORIGINAL}: PIL and torchvision from the files, float32, {options.size} px, Adam at 5.5e-5, no cache.",
        *(f"{name}: `{' '.join(flags)}`" for name, flags in options.ours.items()),
        "set-up: everything before the first epoch, imports included, with an empty cache; all ratios are against the "
        f"{ORIGINAL}, that of the epochs with the set-up on our side.",
    ]
    return Table("training", _columns(options), tuple(rows), tuple(notes))


def _columns(options: TrainingOptions) -> tuple[str, ...]:
    to = f"{options.target:g}"
    return (
        "loop", "photos/s", "ratio", "set-up s", f"{options.epochs} epochs s", "ratio", f"s to {to}", "ratio",
        "last accuracy", "best accuracy",
    )  # fmt: skip


def training_options(options: argparse.Namespace) -> TrainingOptions:
    """From the command line of `benchmarks/run.py`."""
    return TrainingOptions(
        photos=options.photos,
        model=options.model,
        weights=options.weights,
        freeze=options.freeze,
        epochs=options.epochs,
        target=options.target,
        batch=options.batch,
        threads=options.threads[0],
        workers=options.workers,
        limit=options.limit or 0,
        size=architecture_of(options.model).test_size,
        device=options.device,
        ours=parse_ours(options.ours),
    )


def parse_ours(texts: Sequence[str]) -> dict[str, Sequence[str]]:
    """`NAME: FLAGS` each, or NAME alone; without any, smartbin as it comes."""
    found: dict[str, Sequence[str]] = {}
    for text in texts or ("smartbin",):
        name, _, flags = text.partition(":")
        if name in found or not name.strip() or name == ORIGINAL:
            raise ConfigError("each candidate needs a name of its own", where="--ours", found=text)
        found[name.strip()] = flags.split()
    return found
