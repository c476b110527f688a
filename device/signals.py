"""SIGINT and SIGTERM as one stop event, SIGHUP as a wish to read the configuration again.

Imports nothing heavy: it is set up before OpenCV and the runtime load.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set while the body runs; only the main thread can listen to signals."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reload_on_hangup(request: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Call `request`, in a thread, whenever SIGHUP comes while the body runs.

    At a terminal it means that this has gone, and sets `stop`; after `nohup` it means nothing.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield
        return
    at_terminal = sys.stdin is not None and sys.stdin.isatty()

    def asked(*_: object) -> None:
        threading.Thread(target=request, daemon=True).start()  # a handler must not wait for a lock

    before = signal.signal(signal.SIGHUP, (lambda *_: stop.set()) if at_terminal else asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
