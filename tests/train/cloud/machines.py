"""A machine of the cloud for tests: a disk of its own, a mirror that outlives it, and the script that trains on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "train" / "cloud" / "run_or_resume.sh"
FAKE = REPOSITORY / "tests" / "train" / "cloud" / "fake_trainer.py"


class Machine:
    """Runs `run_or_resume.sh` on `disk`, with the fake trainer unless TRAIN says otherwise."""

    def __init__(self, disk: Path, mirror: Path, flags: Sequence[str] = (), **environment: str) -> None:
        disk.mkdir(exist_ok=True)
        self.run = disk / "run"
        self.mirror = mirror
        self.flags = list(flags)
        kept = {key: value for key, value in os.environ.items() if key != "SMARTBIN_DATA"}
        settings = {"PROCESSES": "1", "PYTHON": sys.executable, "TRAIN": str(FAKE), "OMP_NUM_THREADS": "1"}
        self.environment = kept | settings | {"MIRROR": str(mirror), "MIRROR_S": "0.05"} | environment

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            # a shell cannot trap what was ignored when it began, as Ctrl-C is in a background job
            ["env", "--default-signal=INT", SCRIPT, self.run, *self.flags],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> tuple[int, str]:
        """Exit code and output."""
        with self.start() as process:
            output, _ = process.communicate(timeout=200)
            return process.returncode, output

    def stop_at(self, line: str, send: Callable[[int], None]) -> tuple[int, str]:
        """Start, call `send` with the process number once a line of the output begins with `line`."""
        lines = []
        with self.start() as process:
            assert process.stdout is not None
            for text in process.stdout:
                lines.append(text)
                if text.startswith(line):
                    send(process.pid)
                    line = "never again"
            return process.wait(60), "".join(lines)


def terminate(process: int) -> None:
    os.kill(process, signal.SIGTERM)


def terminate_often(process: int) -> None:
    """As a supervisor that loses its patience; a shell gets one of them at every line of its last ones."""
    for _ in range(300):
        with suppress(ProcessLookupError):
            terminate(process)
        time.sleep(0.001)


def terminate_all(process: int) -> None:
    """As a supervisor does: the training gets the signal, and the script, which passes it on as well."""
    for child in descendants(process):
        with suppress(ProcessLookupError):  # a copy of the mirror's, say, that has just ended
            os.kill(child, signal.SIGTERM)
    terminate(process)


def interrupt(process: int) -> None:
    """Ctrl-C goes to the foreground process group."""
    os.killpg(process, signal.SIGINT)


def vanish(process: int) -> None:
    """The machine is gone: nothing is saved or copied any more."""
    for lost in (process, *descendants(process)):
        with suppress(ProcessLookupError):
            os.kill(lost, signal.SIGKILL)


def descendants(process: int) -> list[int]:
    """Children first, then theirs; of one that ends meanwhile there are none."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    children = [int(word) for word in text.split()]
    return children + [below for child in children for below in descendants(child)]
