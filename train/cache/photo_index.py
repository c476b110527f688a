"""SHA-256 of files that have not changed since they were last read: by size and times, without opening them.

One small file per folder of photos, written whole or not at all. Whatever is wrong with it, it is left aside and the
photos are read again. Two processes that write at once lose an entry at worst, which costs one reading.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from smartbin.atomic import write_text_atomic

Entry: TypeAlias = tuple[int, int, int, str]
"""Size, mtime and ctime in nanoseconds, SHA-256. The ctime notices a change that put the old mtime back."""

_SETTLED_NS = 100_000_000  # a file changed just now may change again within the same tick of its file system's clock


@dataclass(frozen=True, slots=True)
class FileState:
    """What the file system said about a file before it was read; `settled` if a later change would show."""

    size: int
    mtime_ns: int
    ctime_ns: int
    settled: bool


class _IndexFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    folder: str
    files: dict[str, Entry]


def state_of(path: Path) -> FileState:
    """Look at a file; `OSError` if it is not there."""
    now_ns = time.time_ns()
    found = path.stat()
    return FileState(
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        max(found.st_mtime_ns, found.st_ctime_ns) < now_ns - _SETTLED_NS,
    )


class PhotoIndex:
    """The index in a folder of the cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def unchanged(self, paths: Iterable[Path]) -> dict[Path, str]:
        """SHA-256 of those files that are as they were when they were added."""
        found = {}
        for folder, members in _by_folder(paths).items():
            entries = self._read(folder)
            for path in members if entries else ():
                entry = entries.get(path.name)
                if entry is None:
                    continue
                try:
                    state = state_of(path)
                except OSError:
                    continue
                if entry[:3] == (state.size, state.mtime_ns, state.ctime_ns):
                    found[path] = entry[3]
        return found

    def add(self, files: Mapping[Path, tuple[FileState, str]]) -> None:
        """Remember files that were read and decoded, by the state before; `OSError` if that cannot be written."""
        settled = [path for path, (state, _) in files.items() if state.settled]
        if settled:
            self.folder.mkdir(parents=True, exist_ok=True)
        for folder, members in _by_folder(settled).items():
            there = {entry.name for entry in os.scandir(folder)}
            entries = {name: entry for name, entry in self._read(folder).items() if name in there}
            for path in members:
                state, digest = files[path]
                entries[path.name] = (state.size, state.mtime_ns, state.ctime_ns, digest)
            body = _IndexFile(folder=str(folder), files=entries).model_dump_json()
            write_text_atomic(self._file(folder), f"{_sum(body)}\n{body}\n")

    def _read(self, folder: Path) -> dict[str, Entry]:
        try:
            checksum, _, body = self._file(folder).read_text(encoding="utf-8").rstrip("\n").partition("\n")
            content = _IndexFile.model_validate_json(body)
        except (OSError, UnicodeDecodeError, ValidationError):
            return {}
        whole = checksum == _sum(body) and content.schema_version == 1 and content.folder == str(folder)
        return content.files if whole else {}

    def _file(self, folder: Path) -> Path:
        return self.folder / f"{_sum(str(folder))[:32]}.json"


def _by_folder(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        folders[path.parent].append(path)
    return folders


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
