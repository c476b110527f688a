"""Decoded photos in one memory-mapped file: how it is written, and how it is read without being trusted.

A map is a folder: `pixels.u8` (uint8 BGR, photo after photo), `photos.npy` (where each one lies, by the SHA-256 of its
file) and `map.json`, written last. Processes that open it share its pages, which the system may drop at any time, so
that neither their number nor that of the photos costs memory. `train/cache/photo_cache.py` says where maps are kept.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import zlib
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from smartbin.atomic import write_bytes_atomic, write_text_atomic
from smartbin.images import BgrImage

MAP_FILE, TABLE_FILE, PIXEL_FILE, DAMAGED_FILE = "map.json", "photos.npy", "pixels.u8", "damaged"
CODEC = f"1, OpenCV {cv2.__version__}"  # another decoder may give other pixels
_PAGE = mmap.PAGESIZE
_KEEP_BYTES = 32 << 20  # of a map's pages in the resident memory of a process
_ROW = np.dtype(
    [
        ("digest", np.uint8, (32,)),
        ("offset", np.int64),
        ("height", np.int32),
        ("width", np.int32),
        ("crc", np.uint32),
        ("shrunk", np.bool_),
    ]
)


class DamagedMap(Exception):  # noqa: N818  # never shown: the map is built again
    """A map that is incomplete, altered, or of another version."""


class MapRecord(BaseModel):
    """`map.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    codec: str
    side: int
    """Photos longer than this were shrunk to it; 0: none was."""
    photos: int
    pixel_bytes: int
    table_sha256: str


def shrink(image: BgrImage, side: int) -> BgrImage:
    """An image [H, W, 3] with its longest side at most `side`, by area averaging; 0 leaves it."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if not side or longest <= side:
        return image
    target = (max(1, round(width * side / longest)), max(1, round(height * side / longest)))
    return np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_AREA), np.uint8)


class MapWriter:
    """Writes a map into a folder, photo by photo; it is one only after `finish`."""

    def __init__(self, folder: Path, side: int) -> None:
        self.folder, self.side, self.bytes = folder, side, 0
        self._rows: list[tuple[tuple[int, ...], int, int, int, int, bool]] = []
        self._known: set[str] = set()
        self._file = (folder / PIXEL_FILE).open("wb")

    def add(self, digest: str, image: BgrImage) -> None:
        """Append a photo uint8 [H, W, 3] BGR whose file has this SHA-256, shrunk if needed; a known one is left out."""
        if digest in self._known:
            return
        small = np.ascontiguousarray(shrink(image, self.side))
        self._known.add(digest)
        self._file.write(small.data)
        height, width = small.shape[:2]
        self._rows.append(
            (tuple(bytes.fromhex(digest)), self.bytes, height, width, zlib.crc32(small.data), small is not image)
        )
        self.bytes += small.nbytes

    def finish(self) -> None:
        """Write table and record."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        table = np.array(self._rows, _ROW)
        content = io.BytesIO()
        np.save(content, table, allow_pickle=False)
        write_bytes_atomic(self.folder / TABLE_FILE, content.getvalue())
        record = MapRecord(
            codec=CODEC,
            side=self.side,
            photos=len(table),
            pixel_bytes=self.bytes,
            table_sha256=hashlib.sha256(content.getvalue()).hexdigest(),
        )
        write_text_atomic(self.folder / MAP_FILE, record.model_dump_json(indent=1) + "\n")

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()


class PhotoMap:
    """An opened map. `image` checks each photo when a process, or one it forks, reads it for the first time."""

    def __init__(self, folder: Path) -> None:
        """Open the map in `folder`; `DamagedMap` if record, table and size of the pixels do not agree."""
        self.folder = folder
        self.record = read_map_record(folder)
        self._table = _read_table(folder, self.record)
        self._rows = {row.tobytes().hex(): number for number, row in enumerate(self._table["digest"])}
        self._pages = _map_pixels(folder / PIXEL_FILE, self.record.pixel_bytes)
        self._pixels = np.frombuffer(self._pages, np.uint8)
        # anonymous shared memory: what one loader process has checked, the others need not check again
        self._checked = np.frombuffer(mmap.mmap(-1, max(1, len(self._table))), np.uint8)
        self._served_bytes = 0

    def __reduce__(self) -> tuple[type[PhotoMap], tuple[Path]]:
        return PhotoMap, (self.folder,)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes of pixels."""
        return self.record.pixel_bytes

    def serves(self, digests: Collection[str], side: int) -> bool:
        """Whether every one of these files is here, as it would be with photos shrunk to `side`."""
        numbers = [self._rows.get(digest, -1) for digest in digests]
        if min(numbers, default=0) < 0:
            return False
        rows = self._table[numbers]
        longest = np.maximum(rows["height"], rows["width"])
        whole = ~rows["shrunk"] & ((longest <= side) | (side == 0))
        return bool(np.all(whole | (rows["shrunk"] & (self.record.side == side))))

    def is_whole(self, digest: str) -> bool:
        """Whether the photo is here with all its pixels."""
        number = self._rows.get(digest, -1)
        return number >= 0 and not self._table["shrunk"][number]

    def image(self, digest: str) -> BgrImage | None:
        """The photo uint8 [H, W, 3] BGR, a read-only view; None if it is not here or not what was written.

        In the latter case the map is marked, so that the next start builds it again.
        """
        number = self._rows.get(digest, -1)
        if number < 0:
            return None
        row = self._table[number]
        start, size = int(row["offset"]), int(row["height"]) * int(row["width"]) * 3
        self._make_room(start, size)
        pixels = self._pixels[start : start + size]
        if not self._checked[number]:
            if zlib.crc32(pixels.data) != row["crc"]:
                self.mark_damaged()
                return None
            self._checked[number] = 1
        image: NDArray[np.uint8] = pixels.reshape(int(row["height"]), int(row["width"]), 3)
        return image

    def check(self) -> bool:
        """Read everything and say whether it is what was written; blocks for about a second a gigabyte."""
        return all(self.image(digest) is not None for digest in self._rows)

    def mark_damaged(self) -> None:
        """Leave a note that this map must not be used again."""
        (self.folder / DAMAGED_FILE).touch()

    def _make_room(self, start: int, size: int) -> None:
        """Fetch a photo's pages at one go; give up those of earlier ones, which stay in the system's page cache."""
        if not hasattr(self._pages, "madvise"):
            return
        self._served_bytes += size
        if self._served_bytes > _KEEP_BYTES:
            self._pages.madvise(mmap.MADV_DONTNEED)
            self._served_bytes = size
        first = start // _PAGE * _PAGE
        self._pages.madvise(mmap.MADV_WILLNEED, first, start + size - first)


def read_map_record(folder: Path) -> MapRecord:
    """`map.json` of a folder; `DamagedMap` if it is absent, of another version, or marked as damaged."""
    try:
        record = MapRecord.model_validate_json((folder / MAP_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise DamagedMap(folder) from error
    if record.schema_version != 1 or record.codec != CODEC or (folder / DAMAGED_FILE).exists():
        raise DamagedMap(folder)
    return record


def _read_table(folder: Path, record: MapRecord) -> NDArray[np.void]:
    try:
        content = (folder / TABLE_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != record.table_sha256:
            raise DamagedMap(folder)
        table: NDArray[np.void] = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DamagedMap(folder) from error
    if table.dtype != _ROW or len(table) != record.photos:
        raise DamagedMap(folder)
    return table


def _map_pixels(file: Path, size: int) -> mmap.mmap:
    try:
        with file.open("rb") as handle:
            if not size or os.fstat(handle.fileno()).st_size != size:
                raise DamagedMap(file)
            return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DamagedMap(file) from error
