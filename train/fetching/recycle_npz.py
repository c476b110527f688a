"""The recycle data set: four arrays in an npz, in a tar archive or by itself, to class folders of PNG files.

In: `recycle_data_shuffled.tar.gz`, the npz out of it, or a folder that holds the npz. Out: `soda_cans/train-00017.png`
for the 17th image of `x_train`, bit by bit what the array holds. The images are read in slices out of the npz, so that
memory does not grow with their number, and nothing is unpickled. Called by `train/fetching/fetch.py`.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.errors import DataError
from train.console import Advance, byte_progress, first_few, progress
from train.fetching.archive import TAR_STARTS, Limits, is_junk, unpack
from train.fetching.disk import disk_faults

PARTS = ("train", "test")
_SIDE = 128
_SLICE = 64
"""Images in memory at a time: 3 MB."""
_PUBLISHED = {"train": 9200, "test": 2300}
_SHOWN = 5  # names; a wrong archive may have thousands
_RIGHT_ONE = (
    "is this the right archive? It is recycle_data_shuffled.tar.gz, the npz out of it, or a folder that holds the npz: "
    "--file FILE"
)

Labels: TypeAlias = NDArray[np.int64]


class _ArrayError(Exception):
    """An array is not what it must be; `_opened` says in which file."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(f"the array {name} is not what it must be")
        self.found, self.expected = found, expected


@dataclass(frozen=True, slots=True)
class _Header:
    """Shape, order and type of an array, as its npy header says."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[np.generic]

    def __str__(self) -> str:
        order = ", column by column" if self.by_columns else ""
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]{order}"


def lay_out_recycle(origin: Path, new: Path, work: Path, classes: Sequence[str], limits: Limits) -> list[str]:
    """Fill the empty folder `new`; returns notes on what is not as published.

    `classes` stand in the order of the labels; in the folder `work` the npz lies for a while. Raises `DataError` for a
    refused or damaged archive, and for arrays that are missing, hold objects, or have another type, shape, length or
    label than they must have; each says what was found.
    """
    with _find_npz(origin, work, limits) as npz, _opened(npz, npz if origin.is_dir() else origin) as archive:
        labels = {part: _read_labels(archive, part, classes, limits) for part in PARTS}
        for part in PARTS:
            _check_images(archive, part, len(labels[part]))
        notes = _check_counts(labels, classes)
        for name in classes:
            (new / name).mkdir()
        with progress("writing PNG files", sum(map(len, labels.values()))) as advance:
            for part in PARTS:
                _write_part(archive, new, part, [classes[label] for label in labels[part]], advance)
    return notes


@contextmanager
def _find_npz(origin: Path, work: Path, limits: Limits) -> Iterator[Path]:
    """The npz itself: as it is, the only one in a folder, or the only one in a tar archive."""
    if origin.is_dir():
        found = sorted(path for path in origin.rglob("*.npz") if path.is_file())
        _check_only_one([path.relative_to(origin).as_posix() for path in found], origin)
        yield found[0]
    elif _starts_like_tar(origin):
        names: list[str] = []
        with tempfile.TemporaryDirectory(prefix="npz-", dir=work) as folder:

            def place(path: PurePosixPath) -> Path | None:
                if path.suffix != ".npz" or is_junk(path):
                    return None
                names.append(str(path))
                return Path(folder) / f"{len(names)}.npz"

            with byte_progress("unpacking", None) as advance:
                unpack(origin, limits, place, advance)
            _check_only_one(names, origin)
            yield Path(folder) / "1.npz"
    else:
        yield origin


def _starts_like_tar(origin: Path) -> bool:
    with origin.open("rb") as file:
        return file.read(8).startswith(TAR_STARTS)


def _check_only_one(names: Sequence[str], origin: Path) -> None:
    if len(names) != 1:
        raise DataError(
            "several npz files here" if names else "no npz file here",
            where=origin,
            found=first_few(names, _SHOWN, ", ") or None,
            expected="one, with x_train, y_train, x_test and y_test",
            fix=_RIGHT_ONE,
        )


@contextmanager
def _opened(npz: Path, where: Path) -> Iterator[zipfile.ZipFile]:
    """The npz as the zip file that it is; its faults as a `DataError` that names `where`."""
    try:
        with zipfile.ZipFile(npz) as archive:
            missing = [name for part in PARTS for name in (f"x_{part}", f"y_{part}") if not _holds(archive, name)]
            if missing:
                found = first_few(archive.namelist(), _SHOWN, ", ") or "nothing"
                raise DataError(
                    "arrays are missing", where=where, found=found, expected=", ".join(missing), fix=_RIGHT_ONE
                )
            yield archive
    except _ArrayError as error:
        raise DataError(str(error), where=where, found=error.found, expected=error.expected, fix=_RIGHT_ONE) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            "the npz is damaged",
            where=where,
            found=error,
            fix="download it again: it must be whole, and the right file",
        ) from error


def _holds(archive: zipfile.ZipFile, name: str) -> bool:
    return f"{name}.npy" in archive.namelist()


@contextmanager
def _array(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[_Header, IO[bytes]]]:
    """The header of an array and the stream that holds its values; `DataError` if these are Python objects."""
    with archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header = _Header(*read(stream))
        if header.dtype.hasobject:
            raise _ArrayError(name, f"Python objects ({header}), which only unpickling could read", "plain numbers")
        yield header, stream


def _read_labels(archive: zipfile.ZipFile, part: str, classes: Sequence[str], limits: Limits) -> Labels:
    name = f"y_{part}"
    with _array(archive, name) as (header, stream):
        count = header.shape[0] if header.shape else 0
        if header.dtype.kind not in "iu" or header.shape not in ((count,), (count, 1)) or not count:
            raise _ArrayError(name, str(header), "whole numbers [N, 1] or [N], N at least 1")
        if count > limits.files:
            raise _ArrayError(name, f"{count:,} labels", f"at most {limits.files:,}")
        labels = np.frombuffer(_read(stream, count * header.dtype.itemsize, name), header.dtype)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise _ArrayError(name, f"labels from {low} to {high}", f"0 to {len(classes) - 1} ({', '.join(classes)})")
    return labels.astype(np.int64)


def _check_images(archive: zipfile.ZipFile, part: str, count: int) -> None:
    name = f"x_{part}"
    with _array(archive, name) as (header, _):
        if header.dtype != np.uint8 or header.shape[1:] != (_SIDE, _SIDE, 3) or header.by_columns:
            raise _ArrayError(name, str(header), f"uint8 [N, {_SIDE}, {_SIDE}, 3], row by row")
        if header.shape[0] != count:
            raise _ArrayError(name, f"{header.shape[0]:,} images", f"{count:,}, as many as y_{part} has labels")


def _check_counts(labels: dict[str, Labels], classes: Sequence[str]) -> list[str]:
    """Notes on counts that are not the published ones; `DataError` for a class that nothing could be learned of."""
    if absent := [name for index, name in enumerate(classes) if index not in labels["train"]]:
        raise _ArrayError("y_train", f"no label of {', '.join(absent)}", "images of each class")
    notes = [
        f"x_{part} holds {len(labels[part]):,} images; {published:,} are known to be published"
        for part, published in _PUBLISHED.items()
        if len(labels[part]) != published
    ]
    untested = [name for index, name in enumerate(classes) if index not in labels["test"]]
    return [*notes, *([f"the test part has no {', '.join(untested)}"] if untested else [])]


def _write_part(archive: zipfile.ZipFile, new: Path, part: str, names: Sequence[str], advance: Advance) -> None:
    """Write the images of a part, numbered from 1 in the file's own order, RGB turned to what PNG encoding takes."""
    name = f"x_{part}"
    image_bytes = _SIDE * _SIDE * 3
    with _array(archive, name) as (_, stream):
        for first in range(0, len(names), _SLICE):
            labels = names[first : first + _SLICE]
            values = np.frombuffer(_read(stream, len(labels) * image_bytes, name), np.uint8)
            images = values.reshape(len(labels), _SIDE, _SIDE, 3)
            for number, (label, image) in enumerate(zip(labels, images, strict=True), start=first + 1):
                encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
                file = new / label / f"{part}-{number:05d}.png"
                with disk_faults(file):
                    file.write_bytes(encoded.tobytes())
                advance(1, "")
        if stream.read(1):  # reads to the end, too, where zip checks its sum
            raise _ArrayError(name, "more values than its shape says", f"{len(names):,} images")


def _read(stream: IO[bytes], count: int, name: str) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise _ArrayError(name, "fewer values than its shape says", "a whole array")
    return data
