"""Puts the page together: routes, files, health, metrics, and the guard around them all."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files
from types import MappingProxyType

from fastapi import APIRouter, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from device.web import upload
from device.web.api import make_api
from device.web.context import Bin
from device.web.guard import Guard
from device.web.machine_models import Yes
from device.web.page_routes import make_pages
from device.web.problems import Refusal, install_handlers
from smartbin import __version__

_STATIC = MappingProxyType(
    {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
)


def make_app(bin_: Bin) -> FastAPI:
    """The application of one bin, without its guard."""
    app = FastAPI(
        title="smartbin",
        version=__version__,
        summary="A smart recycling bin: what it sees, decided and kept.",
        description="Reading needs nothing on this machine's own address, elsewhere `Authorization: Bearer TOKEN`. "
        "Errors are problem details (RFC 9457).",
        openapi_url="/api/openapi.json",
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    install_handlers(app)
    app.include_router(make_api(bin_))
    app.include_router(make_plain(bin_))
    app.include_router(make_pages(bin_))
    return app


def make_guarded(bin_: Bin) -> ASGIApp:
    """The application that is served."""
    uploads = {upload.PATH: (bin_.upload_bytes, upload.UPLOAD_S)} if bin_.upload_bytes else {}
    return Guard(make_app(bin_), bin_.token, bin_.sessions, bin_.brake, bin_.rate, bin_.config.page.names, uploads)


def make_plain(bin_: Bin) -> APIRouter:
    """Health, metrics and the few files, which are read once and found by name in a table."""
    router = APIRouter()
    folder = files("device.web") / "static"
    static = {name: (folder / name).read_bytes() for name in _STATIC}

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", tags=["health"], responses={503: {"model": Yes}})
    def alive() -> JSONResponse:
        """Whether the process lives and its main loop comes round."""
        return _yes(bin_.stalled())

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", tags=["health"], responses={503: {"model": Yes}})
    def ready() -> JSONResponse:
        """Whether an item could be judged now: the model is loaded and the camera gives pictures."""
        return _yes(bin_.trouble())

    @router.get("/metrics", tags=["health"], response_class=Response)
    def metrics() -> Response:
        """Everything that is counted, for Prometheus."""
        return Response(generate_latest(bin_.registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/static/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        """One of the page's files."""
        if name not in static:
            raise Refusal(HTTPStatus.NOT_FOUND, "no such file")
        return Response(static[name], media_type=_STATIC[name], headers={"cache-control": "no-cache"})

    return router


def _yes(trouble: list[str]) -> JSONResponse:
    status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
    return JSONResponse(Yes(ok=not trouble, trouble=trouble).model_dump(), status)
