"""A fetched data set on disk, with the record that says what it is: `dataset.json`, written last.

A folder without the record was not fetched, or not to its end. The record holds what the folder is checked against:
the counts and one hash over all photos. Called by `train/fetching/fetch.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from smartbin.atomic import write_text_atomic
from smartbin.errors import DataError
from smartbin.images import list_images
from train.console import progress
from train.fetching.disk import disk_faults, sha256_of
from train.fetching.registry import DataSetSpec, Sha256

RECORD_FILE = "dataset.json"


class FetchRecord(BaseModel):
    """Where a data set came from and what is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    source: str
    """Name in the registry; `url` or `file` for what the command line gave."""
    place: str
    """URL, Kaggle handle, or name of the file or folder."""
    archive_bytes: int | None
    archive_sha256: Sha256 | None
    """None where there was no archive: from Kaggle, or out of a folder."""
    photos_sha256: Sha256
    """One hash over names and contents of all photos."""
    counts: dict[str, int]
    photo_bytes: int
    notes: tuple[str, ...]
    fetched_at: datetime
    smartbin_version: str

    @property
    def photos(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


def read_record(folder: Path) -> FetchRecord | None:
    """The record of a fetched data set, None where there is none; `DataError` for one that cannot be read."""
    file = folder / RECORD_FILE
    try:
        return FetchRecord.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(
            "the record of a data set cannot be read", where=file, found=error, fix="fetch it again with --force"
        ) from error


def write_record(folder: Path, record: FetchRecord) -> None:
    """Write the record, which makes the data set whole."""
    with disk_faults(folder):
        write_text_atomic(folder / RECORD_FILE, record.model_dump_json(indent=2) + "\n")


def photos_of(folder: Path, classes: Sequence[str]) -> dict[str, list[Path]]:
    """The photos of each class folder, in natural order."""
    return {name: list_images(folder / name) if (folder / name).is_dir() else [] for name in classes}


def describe_amount(counts: Mapping[str, int], spec: DataSetSpec) -> str:
    """How many photos these are, and what is missing of those that are published."""
    found, published = sum(counts.values()), sum(spec.counts.values())
    if absent := [name for name in spec.classes if not counts.get(name)]:
        return f"partial, {found:,} of {published:,} photos, no {', no '.join(absent)}"
    return f"{found:,} photos" if found >= published else f"partial, {found:,} of {published:,} photos"


def hash_photos(photos: Mapping[str, Sequence[Path]]) -> str:
    """SHA-256 over class, name and content of every photo, whatever their order."""
    lines = []
    with progress("hashing photos", sum(map(len, photos.values()))) as advance:
        for name, files in photos.items():
            for file in files:
                lines.append(f"{name}/{file.name}\0{sha256_of(file)}\n")
                advance(1, "")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def count_bytes(photos: Mapping[str, Sequence[Path]]) -> int:
    """Size of all photos."""
    return sum(file.stat().st_size for files in photos.values() for file in files)


def what_differs(folder: Path, record: FetchRecord, *, thorough: bool) -> str:
    """In what the folder is not what was recorded; empty if it is. `thorough` reads every photo."""
    photos = photos_of(folder, tuple(record.counts))
    changed = [
        f"{name} {len(files)} instead of {record.counts[name]}"
        for name, files in photos.items()
        if len(files) != record.counts[name]
    ]
    if changed:
        return ", ".join(changed)
    if count_bytes(photos) != record.photo_bytes:
        return "photos have another size"
    if thorough and hash_photos(photos) != record.photos_sha256:
        return "photos have another content"
    return ""
