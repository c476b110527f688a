"""Every photo is opened once: hashed, decoded, measured, and shown to the network. What cannot be read is listed.

Memory holds a few photos at a time, and per photo a short record and a row of features.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from smartbin.errors import ImageError
from smartbin.images import BgrImage, LabelledPhoto, decode_image
from train.audit.looks import describe
from train.audit.network import FrozenNetwork, tapped
from train.console import progress
from train.datasets.duplicates import PhotoHash, photo_hash
from train.datasets.photos import PARTS, DataSet, Part

_READ_AHEAD = 4  # photos a thread


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What is known of a readable photo. `name` is `source/folder/file`."""

    photo: LabelledPhoto
    name: str
    source: str
    part: Part
    digest: str
    """SHA-256 of the file."""
    format: str
    width: int
    height: int
    hash: PhotoHash | None
    """None for an almost uniform photo."""
    looks: NDArray[np.float64]
    """A value per entry of `looks.STATISTICS`."""

    @property
    def label(self) -> str:
        """The class that its folder says it is."""
        return self.photo.label


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A photo that cannot be read, and why."""

    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Measured:
    """All photos of a data set: the readable ones with their features, float32 [readable, F], and the broken ones."""

    facts: tuple[PhotoFacts, ...]
    broken: tuple[BrokenFile, ...]
    features: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file read and decoded, or the reason why not."""

    image: BgrImage | None
    digest: str = ""
    format: str = ""
    hash: PhotoHash | None = None
    looks: NDArray[np.float64] | None = None
    error: str = ""


def measure_photos(data: DataSet, network: FrozenNetwork | None) -> Measured:
    """Open every photo of every part once. No file stops it: broken ones are listed."""
    parts: dict[Path, Part] = {photo.path: part for part in PARTS for photo in data.part(part)}
    facts: list[PhotoFacts] = []
    broken: list[BrokenFile] = []
    photos = data.photos()
    with (
        tapped(network) as tap,
        progress("opening photos", len(photos)) as advance,
    ):
        for photo, opened in _open_ahead(photos):
            name = data.name_of(photo)
            if opened.image is None or opened.looks is None:
                broken.append(BrokenFile(name, opened.error))
            else:
                facts.append(_facts(photo, name, data.source_of(photo), parts[photo.path], opened))
                if tap:
                    tap.add(opened.image)
            advance(1, f"{len(broken)} broken" if broken else "")
        features = tap.finish() if tap else None
    return Measured(tuple(facts), tuple(broken), features)


def _facts(photo: LabelledPhoto, name: str, source: str, part: Part, opened: _Opened) -> PhotoFacts:
    assert opened.image is not None
    assert opened.looks is not None
    height, width = opened.image.shape[:2]
    return PhotoFacts(
        photo=photo,
        name=name,
        source=source,
        part=part,
        digest=opened.digest,
        format=opened.format,
        width=width,
        height=height,
        hash=opened.hash,
        looks=opened.looks,
    )


def _open_ahead(photos: Sequence[LabelledPhoto]) -> Iterator[tuple[LabelledPhoto, _Opened]]:
    """Open photos in threads, a few ahead of the one that is asked for."""
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[LabelledPhoto, Future[_Opened]]] = deque()
        for photo in photos:
            waiting.append((photo, pool.submit(_open, photo.path)))
            if len(waiting) > _READ_AHEAD * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


def _open(path: Path) -> _Opened:
    try:
        data = path.read_bytes()
        image = decode_image(data, where=path)
    except OSError as error:
        return _Opened(None, error=str(error.strerror or error))
    except ImageError as error:
        return _Opened(None, error=f"{error.what}{f' ({error.found})' if error.found else ''}")
    return _Opened(
        image=image,
        digest=hashlib.sha256(data).hexdigest(),
        format=_format(data),
        hash=photo_hash(image),
        looks=describe(image, len(data)),
    )


def _format(data: bytes) -> str:
    """What the file's content says it is, such as JPEG; its pixels are not decoded again."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f"{image.format} {image.mode}"
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return "unknown"
