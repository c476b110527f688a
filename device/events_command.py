"""`smartbin events`: what the bin did, from its event store, newest first."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from device.config import load_config
from device.store.reader import MAX_PAGE, EventReader
from device.store.records import StoredEvent
from smartbin.errors import ConfigError, StoreError
from smartbin.prediction import probability_text

_AGO = re.compile(r"(\d+)\s*([smhdw])")
_NUMBER_DIGITS = 18  # a longer one is an id, and no number of SQLite's
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def events(options: argparse.Namespace) -> int:
    """Print events or counts; the exit code."""
    paths = load_config(options.config, {}).store.paths
    since_ms = parse_since(options.since) if options.since else None
    with EventReader(paths) as reader:
        if options.id is not None:
            found = [find_event(reader, options.id, paths.database)]
        elif options.per_day:
            _print_days(reader, since_ms or 0, as_json=options.json)
            return 0
        else:
            found = read_pages(reader, options.limit, options.before, options.kind, since_ms)
    if options.json:
        for stored in found:
            print(event_line(stored))
    else:
        _print_table(found)
    return 0


def parse_since(text: str, now: datetime | None = None) -> int:
    """`30m`, `2h`, `7d`, `2026-05-01` or `2026-05-01T12:30` as milliseconds since 1970.

    `ConfigError` for anything else. A date or time without a zone is this machine's.
    """
    moment = now if now is not None else datetime.now(timezone.utc)
    try:
        if match := _AGO.fullmatch(text.strip()):
            return round((moment - timedelta(**{_UNITS[match[2]]: int(match[1])})).timestamp() * 1000)
        return round(datetime.fromisoformat(text.strip()).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            "not a time", where="--since", found=repr(text), expected="30m, 2h, 7d, 2026-05-01 or 2026-05-01T12:30"
        ) from error


def find_event(reader: EventReader, given: str, where: Path) -> StoredEvent:
    """The event of a number in the store, or of the id that a broker or web server was told; `StoreError` if none."""
    if given.isdecimal() and len(given) <= _NUMBER_DIGITS:
        one = reader.event(int(given))
        found = [] if one is None else [one]
    else:
        found = reader.latest(1, uid=given.lower())
    if not found:
        raise StoreError(
            "there is no such event",
            where=where,
            found=repr(given),
            expected="a number as smartbin events shows it, or the id of an event that was sent",
            fix="it may be of another bin, or older than [store] keep_days",
        )
    return found[0]


def read_pages(
    reader: EventReader, limit: int, before: int | None, kind: str, since_ms: int | None
) -> list[StoredEvent]:
    """The newest events, at most `limit`, page by page."""
    found: list[StoredEvent] = []
    while len(found) < limit:
        size = min(MAX_PAGE, limit - len(found))
        page = reader.latest(size, before=before, kind=None if kind == "all" else kind, since_ms=since_ms)
        found += page
        if len(page) < size:
            break
        before = page[-1].id
    return found


def event_line(stored: StoredEvent) -> str:
    """An event as one line of JSON: all that is known, with class names at the probabilities."""
    record = {key: value for key, value in asdict(stored.event).items() if value not in (None, ())}
    del record["time_ms"]
    if stored.event.probabilities:
        record["probabilities"] = dict(zip(stored.run.classes, stored.event.probabilities, strict=False))
    if stored.event.stage_ms:
        record["stage_ms"] = dict(stored.event.stage_ms)
    run = {"uid": stored.run.uid, "source": stored.run.source, "model": stored.run.model, "runtime": stored.run.runtime}
    time = local_time(stored.event.time_ms).isoformat(timespec="milliseconds")
    return json.dumps({"id": stored.id, "time": time, **record, "run": run}, ensure_ascii=False)


def local_time(time_ms: int) -> datetime:
    """A stored time in this machine's zone."""
    return datetime.fromtimestamp(time_ms / 1000, timezone.utc).astimezone()


def _print_table(found: Sequence[StoredEvent]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name, side in (("id", "right"), ("time", "left"), ("what", "left"), ("", "right"), ("bin", "left")):
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=name != "what")
    for stored in found:
        event = stored.event
        moment = f"{local_time(event.time_ms):%Y-%m-%d %H:%M:%S}"
        if event.decision is None:
            told = f"{event.state}: {event.reason}" if event.reason else str(event.state)
            table.add_row(str(stored.id), moment, told, "", "")
            continue
        said = event.label or ""
        if event.decision != "accepted":
            said = event.decision.replace("_", " ") + (f", perhaps {event.label}" if event.label else "")
        sure = probability_text(event.confidence) if event.label and event.confidence is not None else ""
        table.add_row(str(stored.id), moment, said, sure, event.bin)
    _console().print(table if found else "no events")


def _print_days(reader: EventReader, since_ms: int, *, as_json: bool) -> None:
    counts = reader.day_counts(since_ms)
    if as_json:
        for one in counts:
            print(json.dumps(asdict(one), ensure_ascii=False))
        return
    names = sorted({one.label or one.decision for one in counts})
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("day", *(name.replace("_", " ") for name in names)):
        table.add_column(name, justify="left" if name == "day" else "right")
    for day in sorted({one.day for one in counts}):
        of_day = {one.label or one.decision: one.count for one in counts if one.day == day}
        table.add_row(day, *(str(of_day.get(name, "")) for name in names))
    console = _console()
    console.print(table if counts else "no decisions")
    rate = reader.uncertain_rate(since_ms)
    if rate.share is not None:
        console.print(f"uncertain: {rate.uncertain} of {rate.decisions} ({rate.share:.1%})", highlight=False)


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=120)
