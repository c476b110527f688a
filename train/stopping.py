"""SIGINT and SIGTERM as a wish to stop, which the training loop grants after the step it is in."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Stopped(Exception):  # noqa: N818  # not an error: the run was asked to stop, and saved its state
    """The run was stopped by a signal, after its state was saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(slots=True)
class StopWish:
    """The signal that came, or None."""

    number: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopWish]:
    """While the body runs, the first SIGINT or SIGTERM is only noted; a SIGINT after it acts as usual.

    A second SIGTERM does not: a supervisor (torchrun, systemd, a container) signals the whole group while the script
    around the run passes the signal on, and the second would end the run in the middle of saving.
    """
    wish = StopWish()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        wish.number = number
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        restore()
