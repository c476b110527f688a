"""What TensorRT calls back: a log that keeps the problems, and a monitor of the build's progress.

Their base classes are TensorRT's own, so they are made when the module is at hand.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

from smartbin.engine.trt import ILogger, TensorRt

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told a phase's name, how many of its steps are done, and how many it has."""

_MOST_PROBLEMS = 20
_log = logging.getLogger("smartbin.tensorrt")


class TrtLog(ILogger, Protocol):
    """TensorRT's log, seen from here."""

    problems: list[str]
    """The latest errors."""


def make_log(trt: TensorRt) -> TrtLog:
    """A `trt.ILogger` that hands TensorRT's messages to `logging` and keeps the errors."""
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
        severity.VERBOSE: logging.DEBUG,
    }

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # TensorRT asks for this call
            self.problems: list[str] = []

        def log(self, severity: object, msg: str) -> None:
            level = levels.get(severity, logging.ERROR)
            if level >= logging.ERROR:
                self.problems = [*self.problems, msg][-_MOST_PROBLEMS:]
            _log.log(level, "%s", msg)

    made: TrtLog = Log()
    return made


def make_progress(trt: TensorRt, progress: Progress) -> object:
    """A `trt.IProgressMonitor` that tells `progress`; TensorRT calls it from several threads."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # TensorRT asks for this call
            self._steps: dict[str, int] = {}
            self._lock = threading.Lock()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1, self._steps.get(phase_name, 0))
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            steps = self._steps.get(phase_name, 0)
            self._tell(phase_name, steps, steps)

        def _tell(self, phase: str, done: int, steps: int) -> None:
            with self._lock:
                self._steps[phase] = steps
                progress(phase, done, steps)

    return Monitor()
