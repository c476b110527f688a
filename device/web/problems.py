"""Errors as the API and the page say them: problem details (RFC 9457) for programs, a short page for people."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from smartbin.errors import SmartbinError, StoreError

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, as RFC 9457 writes it."""

    type: str = "about:blank"
    title: str = Field(description="the status in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(default="", description="what went wrong this time, and what to do")


class Refusal(Exception):  # noqa: N818 - it is no fault: the request is turned down
    """A request that is turned down, with the status and the words to do it with."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def problem_response(status: int, detail: str = "", headers: dict[str, str] | None = None) -> Response:
    """The answer of the API."""
    content = Problem(title=_words(status), status=status, detail=detail)
    return JSONResponse(content.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def page_response(status: int, detail: str = "", headers: dict[str, str] | None = None) -> Response:
    """The answer of the page."""
    from html import escape

    body = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/static/page.css">'
        f"<title>{status} – smartbin</title></head><body><main class='narrow'><h1>{escape(_words(status))}</h1>"
        f"<p>{escape(detail)}</p><p><a href='/'>To the bin's page</a></p></main></body></html>"
    )
    return HTMLResponse(body, status, headers=headers)


def is_for_programs(path: str) -> bool:
    """Whether a path is answered for a program, not for a person."""
    return path.startswith(("/api/", "/metrics", "/healthz", "/readyz", "/live"))


def respond(path: str, status: int, detail: str = "", headers: dict[str, str] | None = None) -> Response:
    """The answer that fits who asks."""
    answer = problem_response if is_for_programs(path) else page_response
    return answer(status, detail, headers)


def install_handlers(app: FastAPI) -> None:
    """Make every error one of these answers."""

    @app.exception_handler(Refusal)
    async def _refused(request: Request, error: Refusal) -> Response:
        return respond(request.url.path, error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = error.detail if error.detail != _words(error.status_code) else ""
        return respond(request.url.path, error.status_code, detail, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return respond(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, f"{place}: {first['msg']}")

    @app.exception_handler(StoreError)
    async def _store(request: Request, error: StoreError) -> Response:
        return respond(request.url.path, HTTPStatus.SERVICE_UNAVAILABLE, told(error))

    @app.exception_handler(SmartbinError)
    async def _own(request: Request, error: SmartbinError) -> Response:
        return respond(request.url.path, HTTPStatus.CONFLICT, told(error))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        _log.error("the page failed on %s %s", request.method, request.url.path, exc_info=error)
        return respond(request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, "the bin's log says more")


def told(error: SmartbinError) -> str:
    """An error in one line, without the paths of this machine."""
    found = f": {error.found}" if error.found is not None and "/" not in str(error.found) else ""
    fix = f" ({error.fix})" if error.fix and "/" not in error.fix else ""
    return f"{error.what}{found}{fix}"


def _words(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
