"""The body of a request as it comes in: no larger than it may be, and not for ever on its way."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

MOST_BODY = 64 * 1024
BODY_S = 20.0
_SILENT_S = 20.0  # between two pieces of a long one


class BoundedBody:
    """Counts a body and watches the clock: not every one says its length first, or comes at all.

    Within `limit` bytes and `within_s` seconds, with no long silence; else 413 or 408. When all of it has come, it
    waits as long as it takes for the other side to go: that is how streams learn of it.
    """

    def __init__(self, receive: Receive, limit: int = MOST_BODY, within_s: float = BODY_S) -> None:
        self._receive, self._limit = receive, limit
        self._until_s = asyncio.get_running_loop().time() + within_s
        self._size, self._whole = 0, False

    async def __call__(self) -> Message:
        """The next message of the server."""
        if self._whole:
            return await self._receive()
        left_s = self._until_s - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(left_s, _SILENT_S)))
        except (asyncio.TimeoutError, TimeoutError):  # one and the same from Python 3.11 on
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT, "the request took too long to come", {"connection": "close"}
            ) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._size > self._limit:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large(self._limit), {"connection": "close"}
                )
        else:
            self._whole = True
        return message


def too_large(limit: int) -> str:
    """What is said of a larger one."""
    size = f"{limit // 1024} KiB" if limit < 1_000_000 else f"{limit // 1_000_000} MB"
    return f"this request may have {size} at most"
