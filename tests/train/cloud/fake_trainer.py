"""Stands in for `train/run.py` where only starting, stopping and copying matter: no torch, so a start takes no time.

An epoch is a line of output and a number in `checkpoint.pt`. With `--hold N` it waits in epoch N for SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path


class _Stopped(Exception):  # noqa: N818
    pass


def _stop(number: int, frame: object) -> None:
    """Only the first signal stops, as in `train/run.py`: a second one may come while the state is being saved."""
    signal.signal(signal.SIGTERM, _already_stopping)
    raise _Stopped


def _already_stopping(number: int, frame: object) -> None:
    pass


def main() -> int:
    if sys.argv[1:3] == ["data", "fetch"]:
        print(f"fetched {sys.argv[3]} to {sys.argv[5]}", flush=True)
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="+")
    parser.add_argument("--model")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data-root", default="")
    parser.add_argument("--hold", type=int, default=0)
    parser.add_argument("--fail", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=4)
    flags = parser.parse_args()
    run = flags.resume or flags.out
    state = run / "checkpoint.pt"
    done = int(state.read_text(encoding="ascii")) if flags.resume else 0
    print(f"begins after epoch {done}", flush=True)
    run.mkdir(exist_ok=True, parents=True)
    if not flags.resume or flags.data_root:
        lines = [f'data = "{flags.data}"', f'data_root = "{flags.data_root}"', f'model = "{flags.model}"']
        (run / "config.toml").write_text("\n".join(lines) + "\n", encoding="ascii")
    signal.signal(signal.SIGTERM, _stop)
    for epoch in range(done + 1, flags.epochs + 1):
        try:
            print(f"epoch {epoch}", flush=True)
            while epoch == flags.hold:
                time.sleep(0.01)  # `signal.pause` misses the one that comes just before it
        except _Stopped:
            print("saved", flush=True)
            return 128 + signal.SIGTERM
        state.write_text(str(epoch), encoding="ascii")
    if flags.fail:
        return int(flags.fail)
    (run / "plots").mkdir(exist_ok=True)
    (run / "plots" / "curve.txt").write_text("a curve", encoding="ascii")
    (run / "model.safetensors").write_text("weights", encoding="ascii")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
