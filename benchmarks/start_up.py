"""`smartbin run` as a process: seconds from its start to its first prediction, and the memory that it then has."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.own_process import environment, peak_mb, resident_mb
from benchmarks.report import LATENCY_COLUMNS, Measurement, Table
from smartbin.errors import InferenceError
from smartbin.runtime import RuntimeName

_LONGEST_S = 120  # then it ends by itself
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class _Start:
    seconds: float
    resident_mb: float
    peak_mb: float


def run_start_up(bundle: Path, runtime: RuntimeName, threads: int, *, starts: int) -> Table:
    """Start it several times, once uncounted so that its files are in memory. Blocks. `InferenceError` if it fails."""
    found = [_start(bundle, runtime, threads) for _ in range(1 + starts)][1:]
    name = f"smartbin run, {runtime}, {threads} threads"
    measured = Measurement.of(name, [item.seconds * 1000 for item in found], 1)
    row = (name, *measured.cells, found[-1].resident_mb, max(item.peak_mb for item in found))
    notes = (
        "Python, imports, bundle verified, runtime opened, camera opened, first frame decided; on the built-in scene.",
    )
    return Table("start_up", ("command", *LATENCY_COLUMNS, "resident MB", "peak MB"), (row,), notes, (measured,))


def _start(bundle: Path, runtime: RuntimeName, threads: int) -> _Start:
    command = [
        sys.executable, "-m", "device.cli", "run", "--source", "scene", "--mode", "every_frame", "--json",
        "--view", "off", "--bundle", str(bundle), "--runtime", runtime, "--threads", str(threads),
        "--max-seconds", str(_LONGEST_S),
    ]  # fmt: skip
    with TemporaryFile("w+", encoding="utf-8") as complaints:
        begun_s = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=complaints, text=True, encoding="utf-8"
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line)["event"] == "decision":
                    seconds = time.perf_counter() - begun_s
                    return _Start(seconds, resident_mb(process.pid), peak_mb(process.pid))
            complaints.seek(0)
            raise InferenceError(
                "smartbin run ended before its first prediction",
                where=" ".join(command),
                found=complaints.read().strip()[-500:],
                fix="run this command by itself",
            )
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
