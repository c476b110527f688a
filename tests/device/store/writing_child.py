"""A process that writes events until it is killed, and prints the number of each once it is committed.

`python -m tests.device.store.writing_child FOLDER UID`. It imports the store and the standard library alone, so that it
starts in a tenth of a second.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from device.store.database import EventStore
from device.store.paths import StorePaths
from device.store.retention import Retention, RetentionLimits
from device.store.writer import StoreWriter
from tests.device.store.rows import decision, run


def acknowledge(ids: Sequence[int]) -> None:
    os.write(1, "".join(f"{number}\n" for number in ids).encode())


def main() -> None:
    paths = StorePaths(Path(sys.argv[1]))
    lock = paths.lock()
    writer = StoreWriter(
        paths,
        Retention(RetentionLimits()),
        on_commit=acknowledge,
        open_store=partial(EventStore.open, checkpoint_pages=20),  # be killed while the log is folded in, too
    )
    writer.start(run(sys.argv[2]))
    seq = 0
    while not lock.closed:
        for _ in range(random.randint(1, 8)):
            seq += 1
            writer.put(decision(seq))
        while writer.counts.waiting > 100:
            time.sleep(0.001)
        time.sleep(random.random() * 0.002)


if __name__ == "__main__":
    main()
