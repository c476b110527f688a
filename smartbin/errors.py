"""Every error that smartbin raises on purpose.

SmartbinError                     1
 ├─ ImageError                    1  a photo that cannot be read
 ├─ DataError                     1  a data set that cannot be trained or measured on
 ├─ WeightsError                  1  starting weights that do not fit
 ├─ CheckpointError               1  a run directory that is incomplete or of another version
 ├─ TrainingError                 1  a training that cannot go on
 ├─ ExportError                   1  an exported file that fails a gate
 ├─ StoreError                    1  an event store that cannot be read or written
 ├─ FleetError                    1  a broker or bins that cannot be reached
 ├─ ConfigError                   2  configuration or command line
 ├─ BundleError                   3  a model bundle that is refused
 ├─ CameraError                   4  a camera that gave up
 ├─ InferenceError                5  the runtime failed on an input
 └─ StalledError                  6  the main loop made no progress

The number is the exit code of the command that ends with this error. Each message says what failed, where, what was
found, what was expected and what to do.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import ClassVar


class SmartbinError(Exception):
    """An error with everything that its reader needs to act on it."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.where, self.found, self.expected, self.fix = what, where, found, expected, fix
        super().__init__(what)

    def __str__(self) -> str:
        details = (("where", self.where), ("found", self.found), ("expected", self.expected), ("what to do", self.fix))
        return "\n".join([self.what, *(f"  {name}: {value}" for name, value in details if value is not None)])


class ImageError(SmartbinError):
    """A photo that cannot be read: missing, truncated, or no image at all."""


class DataError(SmartbinError):
    """A data set that cannot be trained or measured on."""


class WeightsError(SmartbinError):
    """Starting weights that do not fit the architecture."""


class CheckpointError(SmartbinError):
    """A run directory that is incomplete, damaged, or of another version."""


class TrainingError(SmartbinError):
    """A training that cannot go on; what was saved before is kept."""


class ExportError(SmartbinError):
    """An exported file that fails a gate; nothing was written."""


class StoreError(SmartbinError):
    """An event store that cannot be read or written: absent, damaged, of a newer version, or not ours to open."""


class FleetError(SmartbinError):
    """A broker, or bins behind it, that cannot be reached."""


class ConfigError(SmartbinError):
    """A wrong key or value in a file, the environment or the command line."""

    exit_code = 2


class BundleError(SmartbinError):
    """A model bundle that is refused."""

    exit_code = 3


class CameraError(SmartbinError):
    """A camera that could not be opened or stopped delivering for good."""

    exit_code = 4


class InferenceError(SmartbinError):
    """The runtime failed on an input, or was given one that does not fit."""

    exit_code = 5


class StalledError(SmartbinError):
    """The main loop made no progress."""

    exit_code = 6


def run_cli(function: Callable[[], int]) -> int:
    """Run a command; on a `SmartbinError` print it on stderr and return its exit code, on Ctrl-C return 130.

    When nobody reads stdout any more (`… | head`), return 141 as a shell would say after SIGPIPE.
    """
    try:
        return function()
    except SmartbinError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _stdout_is_broken():
            raise
        drop_stdout()
        return 141


def drop_stdout() -> None:
    """Let what is still to be written to stdout go nowhere, also at the end of the interpreter."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stdout_is_broken() -> bool:
    """Whether it was stdout that broke, and not another pipe: one that nobody reads reports an error unasked."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))
