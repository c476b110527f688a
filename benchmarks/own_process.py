"""Processes that are started to be measured: what they need to find this code, and the memory that they take."""

from __future__ import annotations

import math
import os
import re
import resource
from pathlib import Path


def environment() -> dict[str, str]:
    """The environment of this process, with the folder of this code on the path: a checkout need not be installed."""
    root = Path(__file__).resolve().parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}


def resident_mb(process: int | None = None) -> float:
    """Memory that a process (default: this one) has resident now, MB; not a number where Linux's /proc is absent."""
    return _status_mb("VmRSS", process)


def peak_mb(process: int | None = None) -> float:
    """The most that it had since its program was started; `getrusage` counts that of the process before it, too."""
    found = _status_mb("VmHWM", process)
    if math.isnan(found) and process is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def _status_mb(key: str, process: int | None) -> float:
    try:
        status = Path(f"/proc/{process if process is not None else 'self'}/status").read_text(encoding="utf-8")
    except OSError:
        return float("nan")
    match = re.search(rf"^{key}:\s*(\d+) kB", status, re.MULTILINE)
    return int(match[1]) / 1024 if match else float("nan")
