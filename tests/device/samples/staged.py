"""Pictures and stores for the tests of the samples."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np

from device.samples.picker import Picked
from device.samples.ring import SampleRing
from device.samples.settings import SampleSettings
from device.store.database import EventStore
from device.store.paths import StorePaths
from tests.device.store.rows import NOON_MS, decision, run

PLENTY = 10**12


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """A picture unlike those of other seeds."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class Bench:
    """A store, a ring, and a clock to move."""

    def __init__(self, folder, **settings):
        self.paths = StorePaths(folder)
        self.now_s, self.free, self.seq = 1000.0, PLENTY, 0
        self.settings = SampleSettings(**{"per_minute": 1000, "per_hour": 1000, "per_day": 1000, **settings})
        self.store = EventStore.open(self.paths)
        self.ring = self.new_ring()

    def new_ring(self) -> SampleRing:
        return SampleRing(
            self.paths.samples,
            self.settings,
            now_s=lambda: self.now_s,
            wall_ms=lambda: NOON_MS + round(self.now_s * 1000),
            free_bytes=lambda folder: self.free,
        )

    def offer(self, image=None, *, reason="uncertain", share=1.0, uid="aaaa", label="glass", **run_options):
        """A decision falls, and its picture is offered; what becomes of it."""
        self.seq += 1
        kind = "uncertain" if reason == "uncertain" else "accepted"
        time_ms = NOON_MS + round(self.now_s * 1000)
        self.store.add(run(uid, **run_options), [replace(decision(self.seq, time_ms, kind), label=label)])
        image = picture(self.seq) if image is None else image
        return self.ring.keep(self.store, Picked(self.seq, time_ms, reason, share, image), uid)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.paths.samples.iterdir())

    def rows(self, columns="file", where="1"):
        return self.store.connection.execute(f"SELECT {columns} FROM samples WHERE {where} ORDER BY id").fetchall()


@contextmanager
def bench(folder, **settings):
    opened = Bench(folder, **settings)
    try:
        yield opened
    finally:
        opened.store.close()
