"""What a run prints: progress bars on a terminal, plain lines elsewhere (a log file, a pipe)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance: TypeAlias = Callable[[int, str], None]
"""(steps done since the last call, note shown behind the bar)."""

_LINE_EVERY_S = 60.0


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """A bar of `total` steps on a terminal; elsewhere a plain line a minute, and none for what is quick."""
    console = Console()
    if not console.is_terminal:
        yield _plain_lines(title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as bars:
        task = bars.add_task(title, total=total, note="")
        yield lambda steps, note: bars.update(task, advance=steps, note=note)


def _plain_lines(title: str, total: int) -> Advance:
    done, last_line_s = 0, time.monotonic()

    def advance(steps: int, note: str) -> None:
        nonlocal done, last_line_s
        done += steps
        if time.monotonic() - last_line_s >= _LINE_EVERY_S:
            last_line_s = time.monotonic()
            say(f"{title}: {done}/{total} {note}".rstrip())

    return advance
