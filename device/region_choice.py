"""Which part of the picture is looked at: the configured one, or one that was drawn on the page, kept over restarts.

What was drawn counts for the source that it was drawn on, and for as long as `[presence] region` says what it said
then: the newer of the two words holds. It lies in `$XDG_DATA_HOME/smartbin/regions.json`, else below `~/.local/share`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from device.region import Region
from smartbin.atomic import write_text_atomic

_log = logging.getLogger(__name__)


class _Drawn(BaseModel):
    """What was drawn, None for the whole picture, and what the configuration said then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: Region | None
    configured: Region | None


_FILE = TypeAdapter(dict[str, _Drawn])


class RegionChoice:
    """Of one source. `look_at` is told of every change; any thread may change it."""

    def __init__(
        self, file: Path | None, source: str, configured: Region | None, look_at: Callable[[Region | None], None]
    ) -> None:
        """Look for what was drawn; `look_at` is told where that counts. Without a `file` nothing is kept."""
        self._file, self._source, self._configured, self._look_at = file, source, configured, look_at
        self._lock = threading.Lock()
        self._drawn = self._remembered()
        if self._drawn is not None:
            _log.warning("looking at what was drawn on the page: %s", described(self._drawn.region))
            look_at(self._drawn.region)

    @property
    def region(self) -> Region | None:
        """What is looked at; None is the whole picture."""
        drawn = self._drawn
        return drawn.region if drawn is not None else self._configured

    @property
    def drawn(self) -> bool:
        """Whether that comes from the page."""
        return self._drawn is not None

    @property
    def configured(self) -> Region | None:
        """What the configuration says."""
        return self._configured

    @property
    def configured_text(self) -> str:
        """The same, for people."""
        return described(self._configured)

    def draw(self, region: Region | None) -> str:
        """Look at this from the next frame on. Empty, or why it will not be known after a restart."""
        with self._lock:
            self._drawn = _Drawn(region=region, configured=self._configured)
            self._look_at(region)
            return self._keep(self._drawn)

    def reset(self) -> str:
        """Look at what the configuration says, and forget what was drawn; as `draw`."""
        with self._lock:
            self._drawn = None
            self._look_at(self._configured)
            return self._keep(None)

    def _remembered(self) -> _Drawn | None:
        drawn = self._read().get(self._source)
        if drawn is not None and drawn.configured != self._configured:
            _log.warning("[presence] region has changed since another was drawn on the page: the configuration holds")
            return None
        return drawn

    def _read(self) -> dict[str, _Drawn]:
        if self._file is None:
            return {}
        try:
            return _FILE.validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            _log.warning("what was drawn on the page cannot be read from %s: %s", self._file, error)
            return {}

    def _keep(self, drawn: _Drawn | None) -> str:
        if self._file is None:
            return "there is no home folder; XDG_DATA_HOME names another"
        found = {source: kept for source, kept in self._read().items() if source != self._source}
        if drawn is not None:
            found[self._source] = drawn
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(self._file, _FILE.dump_json(found, indent=1).decode() + "\n")
        except OSError as error:
            _log.error("what was drawn on the page cannot be kept in %s: %s", self._file, error)
            return error.strerror or str(error)
        return ""


def regions_file() -> Path | None:
    """Where it lies; None for a service without a home."""
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "smartbin" / "regions.json"
    except RuntimeError:
        return None


def described(region: Region | None) -> str:
    """For people, and for the configuration."""
    if region is None:
        return "the whole picture"
    return f"[{', '.join(f'{part:.3f}' for part in region)}]"
