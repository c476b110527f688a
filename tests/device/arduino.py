"""A microcontroller at the other end of a pseudo-terminal: speaks the protocol of the sketch, as a test tells it to."""

from __future__ import annotations

import os
import select
import threading
import tty
from pathlib import Path


class Arduino:
    """Plugged in at a path that stays the same; `unplug` takes the device away as a USB cable does."""

    def __init__(self, path: Path, bins=("recycling", "general")) -> None:
        self.path, self.bins = path, bins
        self.lines: list[str] = []
        self.silent = False
        self._ends: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def plug_in(self) -> Arduino:
        mine, theirs = os.openpty()
        tty.setraw(mine)
        tty.setraw(theirs)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(theirs))
        self._ends = (mine, theirs)
        os.write(mine, b"READY\n")
        self._thread = threading.Thread(target=self._talk, args=(mine,))
        self._stop = threading.Event()
        self._thread.start()
        return self

    def unplug(self) -> None:
        if self._ends is None or self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)
        for end in self._ends:
            os.close(end)
        self._ends = None

    def asked(self) -> list[str]:
        """Every line but the pings."""
        return [line for line in self.lines if line != "PING"]

    def _talk(self, mine: int) -> None:
        held = b""
        while not self._stop.is_set():
            if not select.select([mine], [], [], 0.01)[0]:
                continue
            held += os.read(mine, 1024)
            *whole, held = held.split(b"\n")
            for line in whole:
                self.lines.append(line.decode())
                if not self.silent:
                    os.write(mine, self._answer(line.decode()))

    def _answer(self, line: str) -> bytes:
        verb, _, name = line.partition(" ")
        if verb in ("OPEN", "UNSURE"):
            return b"OK\n" if name in self.bins else b"ERR no such bin\n"
        return b"OK\n" if verb in ("PING", "REST") else b"ERR what?\n"
