"""Live pictures: encoded once for all who look, only while somebody looks, in the page's own threads.

The main loop does nothing for them: the newest frame is taken from the status, where it lies anyway. A viewer that is
slow gets fewer pictures; nothing is queued for it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus

import cv2
import numpy as np
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from device.status import BinStatus
from device.web.problems import Refusal
from device.web.settings import PageSettings
from smartbin.images import BgrImage

BOUNDARY = "smartbin-picture"
_NICE = 5


class LiveFeed:
    """The pictures of one bin. All but the encoding runs in the server's loop."""

    def __init__(self, status: BinStatus, settings: PageSettings) -> None:
        self._status, self._settings = status, settings
        self._every_s = 1.0 / settings.fps
        self._newest: bytes | None = None
        self._number = 0
        self._came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="page-picture", initializer=give_way)
        self.viewers = 0
        self.encoded = 0
        self.closed = False

    def admit(self) -> None:
        """Let one more viewer in; `Refusal` (503) if there are enough. Every `admit` has its `leave`."""
        if self.viewers >= self._settings.viewers:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self.viewers} others are looking already; [page] viewers allows more",
                {"retry-after": "5"},
            )
        self.viewers += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._encode_all())

    def leave(self) -> None:
        """A viewer has gone; after the last one nothing is encoded any more."""
        self.viewers -= 1
        if self.viewers == 0 and self._task is not None:
            self._task.cancel()
            self._task = self._newest = None

    async def parts(self) -> AsyncIterator[bytes]:
        """The pictures as parts of a multipart answer, for one admitted viewer; always the newest, never twice one."""
        shown = 0
        yield f"--{BOUNDARY}\r\n".encode()
        while not self.closed:
            if self._newest is None or self._number == shown:
                await self._came.wait()
                continue
            shown, picture = self._number, self._newest
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            tail = f"\r\n--{BOUNDARY}\r\n"  # at once, not with the next one: browsers show a picture at its end only
            yield head.encode() + picture + tail.encode()

    def close(self) -> None:
        """End the encoding, and every viewer's stream."""
        self.closed = True
        self._came.set()
        if self._task is not None:
            self._task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _encode_all(self) -> None:
        loop, last = asyncio.get_running_loop(), None
        while True:
            begun_s = loop.time()
            view = self._status.view
            if view is not None and view.image is not last:
                last = view.image
                self._newest = await loop.run_in_executor(
                    self._pool, encode, view.image, self._settings.width, self._settings.quality
                )
                self._number += 1
                self.encoded += 1
                came, self._came = self._came, asyncio.Event()
                came.set()
            await asyncio.sleep(max(0.01, self._every_s - (loop.time() - begun_s)))


class Endless(StreamingResponse):
    """A stream that tells when it is over, however it ends."""

    def __init__(
        self, content: AsyncIterator[bytes] | AsyncIterator[str], media_type: str, over: Callable[[], None]
    ) -> None:
        super().__init__(content, media_type=media_type)
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the other end has gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()


def encode(image: BgrImage, width: int, quality: int) -> bytes:
    """A picture as JPEG, shrunk to `width` pixels where it is wider."""
    if image.shape[1] > width:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError("the picture could not be encoded")
    return bytes(data)


def give_way() -> None:
    """Let the calling thread run only where the main loop leaves time: Linux has a niceness for each thread."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
