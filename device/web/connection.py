"""A connection of the page's server: nobody may hold one for nothing, by sending or reading ever so slowly."""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.h11_impl import H11Protocol

from device.web.token import network_of

_log = logging.getLogger(__name__)
HEAD_S = 10.0  # a request's head must be whole within so long; a body is limited by the guard
STUCK_S = 30.0  # … and somebody who reads nothing for so long has gone
MOST_OF_ONE = 32  # connections of one address, of all those that the server takes


class BoundedConnection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with an end to waiting for the other side."""

    _head: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connects; one more of the same address than may be is turned away at once."""
        super().connection_made(transport)
        if self.client is not None:
            network = network_of(self.client[0])
            others = [other.client for other in self.connections if isinstance(other, BoundedConnection)]
            of_one = sum(client is not None and network_of(client[0]) == network for client in others)
            if of_one > MOST_OF_ONE:
                _log.debug("more than %d connections of %s", MOST_OF_ONE, network)
                transport.abort()
                return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """More of a request. While none is being answered, its head is awaited; data does not give it more time."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        elif self._head is not None:
            self._head.cancel()
            self._head = None

    def pause_writing(self) -> None:
        """The other side reads more slowly than it is sent to."""
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(STUCK_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self._stop_timer()
        if self._head is not None:
            self._head.cancel()

    def _stop_timer(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _wait_for_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
