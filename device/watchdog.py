"""Notices that the main loop stands still, for example inside a hung driver, and ends the process with exit code 6."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from device.clock import Clock
from smartbin.errors import StalledError


def exit_stalled(error: StalledError) -> None:
    """Print the error and end the process at once: a main thread that hangs cannot be asked to."""
    if sys.stdout.isatty():
        print("\x1b[?25h", end="", flush=True)  # the live view had hidden the cursor
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)


class Watchdog:
    """A thread that wants to be fed; without food for `stall_s` it calls `on_stall`, once.

    `on_feed` is called in the main loop, each time that it made progress.
    """

    def __init__(
        self,
        stall_s: float,
        clock: Clock,
        on_stall: Callable[[StalledError], None] = exit_stalled,
        on_feed: Callable[[], None] | None = None,
    ) -> None:
        self._stall_s, self._clock, self._on_stall, self._on_feed = stall_s, clock, on_stall, on_feed
        self._fed_s, self._done = clock.now_s(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self.feed()
        self._thread.start()

    def feed(self) -> None:
        """The main loop made progress."""
        self._fed_s = self._clock.now_s()
        if self._on_feed is not None:
            self._on_feed()

    @property
    def unfed_s(self) -> float:
        """How long ago that was."""
        return self._clock.now_s() - self._fed_s

    def close(self) -> None:
        """Stop watching."""
        self._done.set()

    def _watch(self) -> None:
        while not self._clock.wait(self._done, self._stall_s / 4):
            still_s = self._clock.now_s() - self._fed_s
            if still_s >= self._stall_s:
                self._on_stall(
                    StalledError(
                        "the main loop stands still",
                        where="smartbin run",
                        found=f"{still_s:.1f} s without progress",
                        expected=f"less than {self._stall_s:g} s",
                        fix="let systemd restart it; raise [runtime] stall_s if the model is really that slow",
                    )
                )
                return
