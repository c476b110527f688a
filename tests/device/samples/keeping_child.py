"""A process that keeps pictures until it is killed, and prints the file of each once its row is committed.

`python -m tests.device.samples.keeping_child FOLDER UID`
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

from device.samples.picker import Picked
from device.samples.ring import SampleRing, sample_name
from device.samples.settings import SampleSettings
from device.store.database import EventStore
from device.store.paths import StorePaths
from tests.device.samples.staged import PLENTY, picture
from tests.device.store.rows import NOON_MS, decision, run


def main() -> None:
    paths, uid = StorePaths(Path(sys.argv[1])), sys.argv[2]
    settings = SampleSettings(per_minute=10**6, per_hour=10**6, per_day=10**6)
    settings = settings.model_copy(update={"max_mb": 0.06})  # five pictures or so: making room is killed, too
    store = EventStore.open(paths, checkpoint_pages=10)
    ring = SampleRing(paths.samples, settings, free_bytes=lambda folder: PLENTY)
    for seq in count(1):
        store.add(run(uid), [decision(seq, kind="uncertain")])
        picked = Picked(seq, NOON_MS, "uncertain", 1.0, picture(hash((uid, seq)) % 2**31))
        if ring.keep(store, picked, uid) == "kept":
            os.write(1, f"{sample_name(NOON_MS, uid, seq)}\n".encode())


if __name__ == "__main__":
    main()
