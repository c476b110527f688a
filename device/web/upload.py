"""A bundle that is sent to the page: one signed archive as the body of a request, written to the disk as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from device.web.model_shelf import ModelShelf
from device.web.problems import Refusal
from smartbin.bundle_store import need_space
from smartbin.errors import BundleError

PATH = "/api/model/upload"
UPLOAD_S = 900.0  # a phone at the edge of its network takes its time
_PIECE = 1 << 20


async def take_bundle(request: Request, shelf: ModelShelf, limit_bytes: int) -> str:
    """Receive, verify, test and install it; says what was done. Everything is as it was if anything is wrong.

    `Refusal` (411) if the caller does not say how large it is; `BundleError` if it is refused. The guard has seen to it
    that it is no larger than `limit_bytes`, and comes in time.
    """
    size = request.headers.get("content-length", "")
    if not size:
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "say how large it is: a Content-Length is needed")
    if not (shelf.may_upload and limit_bytes):
        raise BundleError("no bundle may be sent here", fix="[bundles] public_key and [page] upload_mb say which may")
    with shelf.changing():
        try:
            with ExitStack() as stack:
                folder = await run_in_threadpool(stack.enter_context, shelf.store.incoming())
                need_space(folder, int(size))
                archive = folder / "bundle.tar"
                await _write(request.stream(), archive)
                return await run_in_threadpool(shelf.install_archive, archive, folder / "bundle", limit_bytes)
        except ClientDisconnect:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the connection ended before all of it had come") from None
        except OSError as error:
            raise BundleError("the bundle cannot be kept", found=error.strerror or type(error).__name__) from error


async def _write(pieces: AsyncIterator[bytes], target: Path) -> None:
    """In the threads for what blocks: a slow card must not hold the page up."""
    with target.open("wb") as file:
        held = bytearray()
        async for piece in pieces:
            held += piece
            if len(held) >= _PIECE:
                await run_in_threadpool(file.write, bytes(held))
                held.clear()
        await run_in_threadpool(file.write, bytes(held))
