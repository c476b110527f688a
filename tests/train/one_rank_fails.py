"""The tiny network, and an error in the second of several processes in the middle of the first epoch."""

from __future__ import annotations

import sys

from smartbin.errors import DataError
from tests.train.tiny import register_tiny
from train import loop
from train.ranks import rank
from train.run import main
from train.training import Training

real_step = loop.train_step


def step_or_fail(training: Training, *arguments: object) -> None:
    if rank() == 1 and training.position.step == 1:
        raise DataError("only this rank has a problem")
    real_step(training, *arguments)  # type: ignore[arg-type]


loop.train_step = step_or_fail  # type: ignore[assignment]

if __name__ == "__main__":
    register_tiny()
    raise SystemExit(main(sys.argv[1:]))
