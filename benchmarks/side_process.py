"""A candidate in a process of its own, that answers when it is asked.

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
from typing import Concatenate, Generic, ParamSpec, TypeVar, cast

Subject = TypeVar("Subject")
Answer = TypeVar("Answer")
P = ParamSpec("P")
_STOP_S = 10.0


class SideProcess(Generic[Subject]):
    """Keeps what `start()` returns and asks it. All that travels does so by pickle; its output goes to stderr."""

    def __init__(self, start: Callable[[], Subject]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, start), daemon=False)
        self._process.start()
        far_end.close()

    def ask(
        self, question: Callable[Concatenate[Subject, P], Answer], *arguments: P.args, **keywords: P.kwargs
    ) -> Answer:
        """What `question(subject, …)` returns there, for example an unbound method; raises what was raised there."""
        self._connection.send((question, arguments, keywords))
        return cast("Answer", self._answer())

    def wait_until_started(self) -> None:
        """Return when `start()` has; raises what it raised."""
        self._answer()

    def _answer(self) -> object:
        try:
            worked, answer = self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"a candidate's process ended with exit code {self._process.exitcode}") from None
        if not worked:
            raise answer
        return answer

    def __enter__(self) -> SideProcess[Subject]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(connection: Connection, start: Callable[[], Subject]) -> None:
    with closing(connection), redirect_stdout(sys.stderr):
        try:
            subject = start()
            connection.send((True, None))
            while True:
                question, arguments, keywords = connection.recv()
                connection.send((True, question(subject, *arguments, **keywords)))
        except EOFError:
            return  # nothing more is asked
        except Exception as error:  # noqa: BLE001  # whatever it is belongs to the one who asked
            connection.send((False, error))
