"""The tiny network, and a SIGTERM that comes to the second of several processes in the second epoch's second step."""

from __future__ import annotations

import signal
import sys

from tests.train.tiny import register_tiny
from train import loop
from train.ranks import rank
from train.run import main
from train.training import Training

real_step = loop.train_step


def step_then_signal(training: Training, *arguments: object) -> None:
    real_step(training, *arguments)  # type: ignore[arg-type]
    if rank() == 1 and (training.position.epoch, training.position.step) == (1, 2):
        signal.raise_signal(signal.SIGTERM)


loop.train_step = step_then_signal  # type: ignore[assignment]

if __name__ == "__main__":
    register_tiny()
    raise SystemExit(main(sys.argv[1:]))
