"""What a frozen front made of photos, in one memory-mapped file: how it is written, packed, and read.

A map is a folder: `rows.bin` (row after row, float16, float32 or uint8), `scales.f32` (of uint8 rows: least value and
step of each channel), `sums.u32` (a CRC-32 a row) and `front.json`, written last. Pages that were read are given up
again, so that resident memory stays flat however many rows there are. `train/networks/front_cache.py` says where maps
are kept.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from smartbin.atomic import write_text_atomic

MAP_FILE, ROWS_FILE, SCALES_FILE, SUMS_FILE = "front.json", "rows.bin", "scales.f32", "sums.u32"
Packing: TypeAlias = Literal["float16", "float32", "uint8"]
Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float16]
_KEEP_BYTES = 32 << 20  # of a map's pages in the resident memory of a process


class DamagedMap(Exception):  # noqa: N818  # whoever opens it builds it again or ends the run with an error
    """A map that is incomplete or altered."""


class MapRecord(BaseModel):
    """`front.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    packing: Packing
    rows: int
    shape: tuple[int, ...]
    """Of a row, channels last."""

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in `rows.bin`."""
        return int(np.prod(self.shape)) * np.dtype(self.packing).itemsize


class ActivationWriter:
    """Writes a map of rows of one shape into a folder; it is one only after `finish`."""

    def __init__(self, folder: Path, packing: Packing) -> None:
        self.folder, self.packing = folder, packing
        self._sums: list[int] = []
        self._shape: tuple[int, ...] = ()
        self._rows = (folder / ROWS_FILE).open("wb")
        self._scales = (folder / SCALES_FILE).open("wb")

    def add(self, row: NDArray[np.float32]) -> None:
        """Append a row float32 [..., C]; `OverflowError` if it has values that float16 cannot hold."""
        packed: NDArray[np.float32] | NDArray[np.float16] | NDArray[np.uint8]
        if self.packing == "uint8":
            packed, scales = pack_bytes(row)
            self._scales.write(scales.tobytes())
        else:
            with np.errstate(over="ignore"):
                packed = row.astype(self.packing)
            if not np.isfinite(packed).all():
                raise OverflowError(f"{np.abs(row).max():g} is too large for {self.packing}")
        content = np.ascontiguousarray(packed)
        self._shape = content.shape
        self._rows.write(content.data)
        self._sums.append(zlib.crc32(content.data))

    def finish(self) -> None:
        """Write sums and record."""
        self.close()
        (self.folder / SUMS_FILE).write_bytes(np.array(self._sums, np.uint32).tobytes())
        record = MapRecord(packing=self.packing, rows=len(self._sums), shape=self._shape)
        write_text_atomic(self.folder / MAP_FILE, record.model_dump_json(indent=1) + "\n")

    def close(self) -> None:
        """Close the files, finished or not."""
        self._rows.close()
        self._scales.close()


class ActivationMap:
    """An opened map; each row is checked when it is read for the first time."""

    def __init__(self, folder: Path) -> None:
        """Open the map in `folder`; `DamagedMap` if the sizes of its files do not agree with its record."""
        self.folder = folder
        try:
            self.record = MapRecord.model_validate_json((folder / MAP_FILE).read_bytes())
            self._sums = np.fromfile(folder / SUMS_FILE, np.uint32)
            scales = np.fromfile(folder / SCALES_FILE, np.float32)
            with (folder / ROWS_FILE).open("rb") as file:
                self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValidationError, ValueError) as error:
            raise DamagedMap(folder) from error
        rows, channels = self.record.rows, self.record.shape[-1] if self.record.shape else 0
        expected = rows * channels * 2 if self.record.packing == "uint8" else 0
        if (len(self._pages), len(self._sums), scales.size) != (rows * self.record.row_bytes, rows, expected):
            raise DamagedMap(folder)
        self._scales = scales.reshape(rows, 2, channels) if scales.size else None
        self._checked = np.zeros(rows, np.bool_)
        self._served_bytes = 0

    def __len__(self) -> int:
        return self.record.rows

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self._pages)

    def row(self, number: int) -> Floats:
        """A row [..., C] as float32, or as float16 if it is kept so; a copy. `DamagedMap` if it was altered."""
        size = self.record.row_bytes
        content = self._pages[number * size : (number + 1) * size]  # copies
        if not self._checked[number]:
            if zlib.crc32(content) != self._sums[number]:
                raise DamagedMap(self.folder)
            self._checked[number] = True
        self._give_up_pages(size)
        values = np.frombuffer(content, self.record.packing).reshape(self.record.shape)
        if self._scales is None:
            return values
        least, step = self._scales[number]
        return np.asarray(values.astype(np.float32) * step + least, np.float32)

    def _give_up_pages(self, size: int) -> None:
        """They stay in the system's page cache, where they cost nobody memory."""
        self._served_bytes += size
        if self._served_bytes > _KEEP_BYTES and hasattr(self._pages, "madvise"):
            self._pages.madvise(mmap.MADV_DONTNEED)
            self._served_bytes = 0


def pack_bytes(row: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A row [..., C] as bytes, and least value and step [2, C] of each channel; wrong by at most half a step."""
    axes = tuple(range(row.ndim - 1))
    least, most = row.min(axis=axes), row.max(axis=axes)
    step = np.where(most > least, (most - least) / 255, 1).astype(np.float32)
    packed = np.rint((row - least) / step).astype(np.uint8)
    return packed, np.stack([least, step]).astype(np.float32)
