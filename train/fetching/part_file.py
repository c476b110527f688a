"""The beginning of a download that another try can continue: `NAME.part`, and `NAME.part.json` with what it is of.

Called by `train/fetching/download.py`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.filesize import decimal

from smartbin.atomic import write_text_atomic

BY_HAND = "or give a file that you got by hand: --file FILE"


class PartNotes(BaseModel):
    """What the server said of the file that a part is the beginning of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    etag: str = ""
    last_modified: str = ""
    total: int | None = None
    ranges: bool = True
    """Whether it may be continued: false for a server that says so, or that sent all of it when asked for the rest."""

    @property
    def validator(self) -> str:
        """For `If-Range`, which takes strong ETags only (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


def begin(part: Path, notes: PartNotes) -> None:
    """Begin anew: what is there goes before the notes of another file come."""
    discard(part)
    write_text_atomic(_notes_of(part), notes.model_dump_json())


def discard(part: Path) -> None:
    """Remove a part and its notes."""
    part.unlink(missing_ok=True)
    _notes_of(part).unlink(missing_ok=True)


def size_of(part: Path) -> int:
    """Bytes that have arrived."""
    return part.stat().st_size if part.exists() else 0


def read_notes(part: Path) -> PartNotes:
    """What is noted of the part; empty where that cannot be read, so that the file begins anew."""
    try:
        return PartNotes.model_validate_json(_notes_of(part).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return PartNotes()


def how_to_go_on(part: Path) -> str:
    """For messages: what the next try will do."""
    notes, kept = read_notes(part), size_of(part)
    then = ""
    if kept and notes.validator:
        then = f"; it continues after {decimal(kept)}" if notes.ranges else "; this server begins anew each time"
    return f"check the network and run the same command again{then}; {BY_HAND}"


def _notes_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
