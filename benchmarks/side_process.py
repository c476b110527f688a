"""A candidate in a process of its own, that takes a step when it is told to.

So that neither memory nor settings of a process (torch's threads, the C library's allocator) are shared by candidates
that take turns. A waiting one uses no CPU.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Generic, TypeVar

Step = TypeVar("Step")
_STOP_S = 10.0


class SideProcess(Generic[Step]):
    """Runs what `start()` returns, once a `step()`. Both travel to the process by pickle; its output goes to stderr."""

    def __init__(self, start: Callable[[], Callable[[], Step]]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, start), daemon=False)
        self._process.start()
        far_end.close()

    def step(self) -> Step:
        """What one more step returned; raises what was raised there."""
        self._connection.send("step")
        return self._answer()

    def wait_until_started(self) -> None:
        """Return when `start()` has."""
        self._answer()

    def _answer(self) -> Step:
        try:
            worked, answer = self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"a candidate's process ended with exit code {self._process.exitcode}") from None
        if not worked:
            raise answer
        return answer  # type: ignore[no-any-return]

    def __enter__(self) -> SideProcess[Step]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(connection: Connection, start: Callable[[], Callable[[], Step]]) -> None:
    with closing(connection), redirect_stdout(sys.stderr):
        try:
            step = start()
            connection.send((True, None))
            while connection.recv():
                connection.send((True, step()))
        except EOFError:
            return  # no more steps are wanted
        except Exception as error:  # noqa: BLE001  # whatever it is belongs to the one who asked
            connection.send((False, error))
