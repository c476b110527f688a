"""Time and resident memory of reading, caching and loading as a data set grows: 1, 4, 16 times as many photos.

Each size is measured in processes of its own, started for it: what an allocator once took it may never give back. The
additional photos are the given ones, moved by some pixels and encoded again, so that no cache can take two for one.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.own_process import environment, peak_mb
from benchmarks.photos import photos_below
from benchmarks.report import Cell, Table
from smartbin.brightness import BrightnessSettings
from smartbin.errors import ConfigError
from smartbin.images import LabelledPhoto, list_images, read_image
from train.augmentation.augment import Augmentation
from train.augmentation.config import Augment
from train.cache.reading import read_photos
from train.loader import PhotoSamples, epoch_batches, epoch_keys, load_batches

TIMES = (1, 4, 16)
_SIZE = 224
_BATCH = 32
_MODULE = "benchmarks.memory_scenario"


@dataclass(frozen=True, slots=True)
class Stage:
    """What one process did: seconds until the photos could be used and in all, and the most memory that it and its
    largest child had resident, in MB.
    """

    ready_s: float
    seconds: float
    resident_mb: float
    largest_child_mb: float


def run_memory(photos: Path, *, limit: int, workers: int, times: Sequence[int] = TIMES) -> Table:
    """Measure the first start, the second start and an epoch of loading at each size. Blocks for minutes."""
    originals = photos_below(photos, limit)
    rows: list[tuple[Cell, ...]] = []
    with TemporaryDirectory(prefix="smartbin-memory-") as name:
        folder = Path(name)
        copied = 0
        for factor in times:
            for number in range(copied, factor):
                _write_copies(originals, folder / "photos", number)
            copied = factor
            count = len(originals) * factor
            first, epoch = _measured("start", folder, workers), _measured("epoch", folder, workers)
            row: tuple[Cell, ...] = (
                f"{factor} ×", count, first.ready_s, first.ready_s / count * 1000, epoch.ready_s, epoch.seconds,
                epoch.seconds / count * 1000, first.resident_mb, epoch.resident_mb, epoch.largest_child_mb,
            )  # fmt: skip
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
            _clear(folder / "cache")
    return Table("memory", _COLUMNS, tuple(rows), (
        f"{len(originals)} photos below `{photos.name}`, then copies that differ from them; {workers} loader "
        f"processes, augmented to {_SIZE} px, no network.",
        "first start: every photo hashed, decoded and cached; second start: nothing has changed since; epoch: all "
        "photos once from the map, its start included. Peak resident memory of each process, shared pages counted in "
        "each.",
    ))  # fmt: skip


_COLUMNS = (
    "photos", "number", "first start s", "ms a photo", "second start s", "epoch s", "ms a photo",
    "first start MB", "epoch MB", "largest worker MB",
)  # fmt: skip


def _write_copies(originals: Sequence[Path], root: Path, number: int) -> None:
    """Copy `number` of every photo, moved to the right by so many pixels, in class folders named as the originals'."""
    for place, path in enumerate(originals):
        folder = root / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        moved = np.roll(read_image(path), number, axis=1)
        file = folder / f"{place:06d}-{number}.jpg"
        if not cv2.imwrite(str(file), moved, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise ConfigError("a copy of a photo cannot be written", where=file)


def _measured(stage: str, folder: Path, workers: int) -> Stage:
    command = [sys.executable, "-m", _MODULE, stage, str(folder), str(workers)]
    done = subprocess.run(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return Stage(**json.loads(done.stdout.splitlines()[-1]))


def _work(stage: str, folder: Path, workers: int) -> Iterator[None]:
    """What a measured process does; yields when the photos can be used, and after each batch."""
    cv2.setNumThreads(1)
    photos = [LabelledPhoto(path, path.parent.name) for path in list_images(folder / "photos")]
    store = read_photos(photos, "map", folder=folder / "cache", side=640)
    yield
    if stage == "epoch":
        classes = tuple(sorted({photo.label for photo in photos}))
        augmentation = Augmentation(Augment(), _SIZE, BrightnessSettings())
        samples = PhotoSamples(photos, classes, store, augmentation, shrunk=True)
        keys = epoch_keys([photo.label for photo in photos], 0.0, 0, 0)
        for _ in load_batches(samples, epoch_batches(keys, _BATCH), workers):
            yield


def _clear(cache: Path) -> None:
    from train.cache.photo_cache import clear

    clear(cache)


def _main(arguments: Sequence[str]) -> None:
    stage, folder, workers = arguments
    begun_s = time.perf_counter()
    work = _work(stage, Path(folder), int(workers))
    next(work)
    ready_s = time.perf_counter() - begun_s
    for _ in work:
        pass
    seconds = time.perf_counter() - begun_s
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps(asdict(Stage(ready_s, seconds, peak_mb(), children / 1024))))


if __name__ == "__main__":
    _main(sys.argv[1:])
