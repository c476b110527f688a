"""What a run prints: progress bars on a terminal, plain lines elsewhere (a log file, a pipe)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Advance: TypeAlias = Callable[[int, str], None]
"""(steps done since the last call, note shown behind the bar)."""

_LINE_EVERY_S = 60.0
_quiet = False


def be_quiet() -> None:
    """Print nothing from here on: of several processes that do the same, one is enough to say so."""
    global _quiet
    _quiet = True


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    if not _quiet:
        print(text, flush=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """A bar of `total` steps on a terminal; elsewhere a plain line a minute, and none for what is quick."""
    console = Console(quiet=_quiet)
    if _quiet or not console.is_terminal:
        yield _plain_lines(title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as bars:
        task = bars.add_task(title, total=total, note="")
        yield lambda steps, note: bars.update(task, advance=steps, note=note)


@contextmanager
def byte_progress(title: str, total: int | None, done: int = 0) -> Iterator[Advance]:
    """`progress` for bytes, of which `done` are there already; `total` is None where nobody knows it."""
    console = Console()
    if not console.is_terminal:
        yield _plain_lines(title, total, done=done, of_bytes=True)
        return
    columns: tuple[ProgressColumn, ...] = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task(title, total=total, completed=done)
        yield lambda steps, note: bars.update(task, advance=steps)


def _plain_lines(title: str, total: int | None, *, done: int = 0, of_bytes: bool = False) -> Advance:
    last_line_s = time.monotonic()

    def advance(steps: int, note: str) -> None:
        nonlocal done, last_line_s
        done += steps
        if time.monotonic() - last_line_s >= _LINE_EVERY_S:
            last_line_s = time.monotonic()
            reached = decimal(done) if of_bytes else str(done)
            whole = "?" if total is None else decimal(total) if of_bytes else str(total)
            say(f"{title}: {reached}/{whole} {note}".rstrip())

    return advance


def first_few(texts: Sequence[str], most: int, between: str = "; ") -> str:
    """At most so many of the texts, and how many more there are; empty if there are none."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return between.join(texts[:most]) + more
