"""The tiny network, and an accident in the second epoch's second step, for tests that start processes.

`kill` comes in the first epoch's second step instead: a SIGKILL to this process.

    python -m tests.train.accidents KIND FLAGS…

`stop`: a SIGTERM to this process, if it is the last of its ranks; `fail`: an error, likewise; `stop-group`: a SIGTERM
to the whole group of processes, loader processes included, as torchrun and others send it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

from smartbin.errors import DataError
from tests.train.tiny import register_tiny
from train import loop
from train.ranks import rank, ranks
from train.run import main
from train.training import Training


def _fail() -> None:
    raise DataError("only this rank has a problem")


def _stop_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGTERM)
    for process in multiprocessing.active_children():
        process.join(0.5)  # time enough to die of it


_ACCIDENTS = {
    "stop": lambda: signal.raise_signal(signal.SIGTERM),
    "fail": _fail,
    "stop-group": _stop_group,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def prepare(kind: str) -> None:
    """From now on a step is followed by the accident, if it is the one for it."""
    real_step = loop.train_step

    def step(training: Training, *arguments: object) -> None:
        real_step(training, *arguments)  # type: ignore[arg-type]
        epoch = 0 if kind == "kill" else 1
        if rank() == ranks() - 1 and (training.position.epoch, training.position.step) == (epoch, 2):
            _ACCIDENTS[kind]()

    loop.train_step = step  # type: ignore[assignment]


if __name__ == "__main__":
    register_tiny()
    prepare(sys.argv[1])
    raise SystemExit(main(sys.argv[2:]))
