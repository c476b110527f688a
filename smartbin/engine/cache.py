"""Built engines on this device's disk: written whole or not at all, verified on reading, never trusted by name alone.

ROOT/NAME-DIGEST/engine.plan     what TensorRT deserialises
ROOT/NAME-DIGEST/entry.json      the key, the plan's sha256, when and how long it was built
ROOT/timing-DIGEST.bin           TensorRT's timing cache of this GPU and driver: makes the next build quicker
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smartbin.atomic import replace_folder, write_bytes_atomic
from smartbin.bundle import sha256_file
from smartbin.engine.key import EngineKey

PLAN_FILE, ENTRY_FILE = "engine.plan", "entry.json"
_log = logging.getLogger(__name__)


class EntryRecord(BaseModel):
    """`entry.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: EngineKey
    plan_sha256: str
    plan_bytes: int = Field(ge=1)
    built_utc: str
    build_seconds: float = Field(ge=0)


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """An entry that was read and verified."""

    path: Path
    record: EntryRecord

    @property
    def plan(self) -> Path:
        """Where the engine is."""
        return self.path / PLAN_FILE


def default_root() -> Path:
    """`$XDG_CACHE_HOME/smartbin/engines`, else below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "smartbin" / "engines"


class EngineCache:
    """The engines below `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: EngineKey) -> CachedEngine | None:
        """The engine with exactly this key; None if there is none or it is damaged, which is logged."""
        folder = self._folder(key)
        if not folder.is_dir():
            return None
        try:
            entry = read_entry(folder)
        except DamagedEntryError as damage:
            _log.warning("engine %s is damaged (%s) and will not be used: build it again", folder, damage)
            return None
        if entry.record.key != key:
            _log.warning(
                "engine %s was built for something else: %s", folder, "; ".join(key.differences(entry.record.key))
            )
            return None
        return entry

    def store(self, key: EngineKey, plan: Path, build_seconds: float) -> CachedEngine:
        """Copy the file `plan` into the entry of `key`, replacing what is there."""
        folder = self._folder(key)
        with replace_folder(folder) as new:
            shutil.copyfile(plan, new / PLAN_FILE)
            record = EntryRecord(
                key=key,
                plan_sha256=sha256_file(new / PLAN_FILE),
                plan_bytes=(new / PLAN_FILE).stat().st_size,
                built_utc=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                build_seconds=build_seconds,
            )
            (new / ENTRY_FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return read_entry(folder)

    def entries(self) -> Iterator[CachedEngine | DamagedEntryError]:
        """All entries by name, and what is wrong with those that are damaged."""
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if not folder.is_dir() or folder.name.startswith("."):
                continue  # timings; half-written, or moved aside
            try:
                yield read_entry(folder)
            except DamagedEntryError as damage:
                yield damage

    def clear(self) -> int:
        """Delete everything below the root; returns how many entries there were."""
        count = sum(1 for _ in self.entries())
        shutil.rmtree(self.root, ignore_errors=True)
        return count

    def timings(self, key: EngineKey) -> bytes:
        """The timing cache of this GPU and driver; empty if there is none."""
        try:
            return self._timing_file(key).read_bytes()
        except OSError:
            return b""

    def keep_timings(self, key: EngineKey, timings: bytes) -> None:
        """Write the timing cache of this GPU and driver."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(self._timing_file(key), timings)

    def _folder(self, key: EngineKey) -> Path:
        return self.root / f"{key.precision}-{key.digest}"

    def _timing_file(self, key: EngineKey) -> Path:
        return self.root / f"timing-{key.platform_digest}.bin"


class DamagedEntryError(Exception):
    """An entry that cannot be used: the message says why. Not fatal, since it can be built again."""

    def __init__(self, folder: Path, problem: str) -> None:
        self.folder = folder
        super().__init__(problem)


def read_entry(folder: Path) -> CachedEngine:
    """Read and verify an entry; `DamagedEntryError` if it is not whole."""
    try:
        record = EntryRecord.model_validate_json((folder / ENTRY_FILE).read_text(encoding="utf-8"))
        found = sha256_file(folder / PLAN_FILE)
    except ValidationError as error:
        raise DamagedEntryError(folder, f"{ENTRY_FILE} does not fit: {error.error_count()} problems") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedEntryError(folder, str(error)) from error
    if found != record.plan_sha256:
        raise DamagedEntryError(folder, f"{PLAN_FILE} has sha256 {found[:12]}…, recorded is {record.plan_sha256[:12]}…")
    return CachedEngine(folder, record)
