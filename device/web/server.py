"""The server's thread. It fails alone: without its port the bin goes on sorting, and the port is tried again."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from device.web.connection import BoundedConnection
from device.web.live import give_way

_log = logging.getLogger(__name__)
_AGAIN_S = 10.0
_STOP_S = 3.0
_CONNECTIONS = 64
_MOST_HEADERS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Served:
    """An application, what is to be called in the server's loop when it begins to end, and what when it is over."""

    application: ASGIApp
    closing: Callable[[], None]
    over: Callable[[], None] = lambda: None


class PageServer:
    """Serves an application on an address from `start` to `close`.

    `make` makes it: once in `start`, and again where the server has to begin anew.
    """

    def __init__(self, host: str, port: int, make: Callable[[], Served]) -> None:
        self._host, self._port, self._make = host, port, make
        self._stop, self._listening = threading.Event(), threading.Event()
        self._made: Served | None = None
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self.port: int | None = None

    def start(self) -> None:
        """Make the application and start the thread; does not wait for it."""
        self._made = self._make()
        self._thread.start()

    def wait_until_listening(self, timeout_s: float) -> bool:
        """Whether it listens, waiting for that up to `timeout_s`."""
        return self._listening.wait(timeout_s)

    def close(self) -> bool:
        """End the thread within a few seconds; connections that do not end are dropped. May be called twice.

        False if a request hangs, in a disk or a runtime, and had to be left there: its thread keeps the process.
        """
        self._stop.set()
        server = self._server
        if server is not None:
            server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        give_way()
        said = False
        while not self._stop.is_set():
            try:
                with self._bind() as listener:
                    self._serve(listener)
                    said = False
            except Exception as error:  # noqa: BLE001 - whatever the page does, the bin goes on sorting
                if not said:
                    said = True
                    _log.error(
                        "no page on %s port %d, the bin goes on without it and tries again: %s",
                        self._host,
                        self._port,
                        error,
                    )
            self._stop.wait(_AGAIN_S)

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family, backlog=_CONNECTIONS)
        self.port = int(listener.getsockname()[1])
        return listener

    def _serve(self, listener: socket.socket) -> None:
        served = self._made or self._make()
        self._made = None
        try:
            self._run_server(listener, served)
        finally:
            served.over()

    def _run_server(self, listener: socket.socket, served: Served) -> None:
        config = uvicorn.Config(
            served.application,
            loop="asyncio",
            http=BoundedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.ERROR,  # its warnings are about strangers' requests: they could fill the log
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_MOST_HEADERS,
        )
        server = _Server(config, self._listening, served.closing)
        self._server = server
        if not self._stop.is_set():
            shown = f"[{self._host}]" if ":" in self._host else self._host
            print(f"the bin's page: http://{shown}:{self.port}/", file=sys.stderr)
            asyncio.run(server.serve([listener]))


class _Server(uvicorn.Server):
    """Says when it listens, and ends endless streams before it waits for connections to end."""

    def __init__(self, config: uvicorn.Config, listening: threading.Event, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening, self._closing = listening, closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening."""
        self._listening.clear()
        self._closing()
        await super().shutdown(sockets)
