"""The routes of the page: HTML made here, which works without a script; the script only makes the live view move."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated

from fastapi import APIRouter, Path, Query
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from device.samples.labels import Verdict
from device.web.charts import NARROW, WIDE, day_chart, days_of, series_of, style_of
from device.web.context import Bin
from device.web.forms import read_form
from device.web.guard import give_cookie, too_many
from device.web.live_api import health_of, look_as_configured, look_at
from device.web.live_models import Box, LiveState
from device.web.model_api import RELOADS, model_of
from device.web.pages import TABS, Pages
from device.web.problems import Refusal, told
from device.web.store_api import event_page
from device.web.store_models import MOST_NUMBER
from smartbin.errors import SmartbinError, StoreError

Before = Annotated[int | None, Query(ge=1, le=MOST_NUMBER)]
_PER_PAGE, _THUMBNAILS = 24, 12
_DAYS = (7, 14, 30, 90)
_CHARTS = MappingProxyType({"wide": WIDE, "narrow": NARROW})  # the style shows the one that fits


def make_pages(bin_: Bin) -> APIRouter:
    """The routes of the page."""
    router, pages = APIRouter(include_in_schema=False), Pages(bin_)
    _add_entry(router, pages)
    _add_live(router, pages)
    _add_history(router, pages)
    _add_facts(router, pages)
    _add_labels(router, pages)
    _add_models(router, pages)
    return router


def _add_entry(router: APIRouter, pages: Pages) -> None:
    bin_ = pages.bin

    @router.get("/login")
    async def login(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
        """Ask for the token."""
        if not bin_.token.wanted:
            return pages.back(request, "/")
        return pages.show(request, "login.html", wrong="", next=_own_path(next))

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        """Take the token; a browser that has it gets a new session."""
        form = await read_form(request, bin_.sessions)
        address, target = request.client.host if request.client else "", _own_path(form.get("next", "/"))
        if (wait_s := bin_.brake.wait_s(address)) > 0:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, *too_many(wait_s))
        if not bin_.token.fits(form.get("token", "").strip()):
            bin_.brake.failed(address)
            wrong = "That is not the token."
            return pages.show(request, "login.html", HTTPStatus.FORBIDDEN, wrong=wrong, next=target)
        bin_.brake.succeeded(address)
        if request.scope["session"] is not None:
            bin_.sessions.end(request.scope["session"])
        response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
        give_cookie(response, bin_.sessions.begin(signed_in=True), request)
        return response

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        """Forget the session."""
        await read_form(request, bin_.sessions)
        if request.scope["session"] is not None:
            bin_.sessions.end(request.scope["session"])
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)


def _add_live(router: APIRouter, pages: Pages) -> None:
    bin_ = pages.bin

    @router.get("/")
    def live(request: Request) -> Response:
        """What the bin sees now."""
        manifest, state = bin_.shelf.running.manifest, LiveState.of(bin_.status)
        return pages.show(
            request,
            "live.html",
            classes=manifest.classes,
            min_confidence=manifest.thresholds.min_confidence,
            state=state,
            region=state.region.model_dump() if state.region is not None else None,
            drawn=bin_.region.drawn,
            told=list(reversed(bin_.status.told)),
        )

    @router.post("/region")
    async def region(request: Request) -> Response:
        """Look at another part of the picture."""
        form = await read_form(request, bin_.sessions)
        if form.get("what") == "configured":
            back = "/settings" if form.get("from") == "settings" else "/"
            return pages.back(request, back, await run_in_threadpool(look_as_configured, bin_))
        asked = None if form.get("what") == "all" else [_part(form.get(name, "")) for name in Box.model_fields]
        try:
            return pages.back(request, "/", await run_in_threadpool(look_at, bin_, asked))
        except Refusal as error:
            return pages.back(request, "/", f"Nothing was changed: {error.detail}.")


def _add_history(router: APIRouter, pages: Pages) -> None:
    bin_ = pages.bin

    @router.get("/history")
    def history(request: Request, before: Before = None, kind: str = "decision") -> Response:
        """What was decided, with pictures."""
        kind = kind if kind in ("decision", "lifecycle") else "decision"
        try:
            page, trouble = event_page(bin_, _PER_PAGE, before, kind), ""
        except (Refusal, StoreError) as error:
            page, trouble = None, _reason(error)
        return pages.show(request, "history.html", page=page, trouble=trouble, kind=kind, before=before)

    @router.get("/counts")
    def counts(request: Request, days: int = 14) -> Response:
        """Decisions a day and class as a plot and a table, and the accuracy."""
        number = days if days in _DAYS else 14
        classes = bin_.shelf.running.manifest.classes
        try:
            counted, today = bin_.archive.days(number)
            accuracy, trouble = bin_.accuracy(), ""
            uncertain = bin_.archive.uncertain_share(number)
        except (Refusal, StoreError) as error:
            return pages.show(request, "counts.html", trouble=_reason(error), choices=_DAYS, number=number)
        found = days_of(counted, today, number)
        series = series_of(found, classes)
        return pages.show(
            request,
            "counts.html",
            trouble=trouble,
            choices=_DAYS,
            number=number,
            days=list(reversed(found)),
            series=[(name, style_of(name, series)) for name in series],
            charts={name: Markup(day_chart(found, series, size)) for name, size in _CHARTS.items()},
            total=sum(day.total for day in found),
            uncertain=uncertain,
            accuracy=accuracy,
            model=bin_.status.session.model if bin_.status.session is not None else "",
        )


def _add_facts(router: APIRouter, pages: Pages) -> None:
    bin_ = pages.bin

    @router.get("/health")
    def health(request: Request) -> Response:
        """How the bin is doing."""
        return pages.show(request, "health.html", health=health_of(bin_))

    @router.get("/settings")
    def settings(request: Request) -> Response:
        """The configuration."""
        return pages.show(
            request, "settings.html", sections=_by_section(pages), region=bin_.region, refusal=bin_.refusal()
        )

    @router.post("/settings/reload")
    async def reload(request: Request) -> Response:
        """Read the configuration again."""
        await read_form(request, bin_.sessions)
        bin_.reloader.request()
        return pages.back(request, "/settings", RELOADS)


def _add_labels(router: APIRouter, pages: Pages) -> None:
    archive = pages.bin.archive

    @router.get("/label")
    def newest(request: Request) -> Response:
        """The newest picture that waits."""
        return ask(request, None)

    @router.get("/label/{number}")
    def named(request: Request, number: Annotated[int, Path(ge=1, le=MOST_NUMBER)]) -> Response:
        """One picture, to label it or to label it anew."""
        return ask(request, number)

    def ask(request: Request, number: int | None) -> Response:
        """A picture and its classes, and the queue."""
        try:
            waiting, count = archive.waiting(_THUMBNAILS), archive.waiting_count()
            shown = archive.sample(number) if number is not None else next(iter(waiting), None)
        except StoreError as error:
            return pages.show(request, "label.html", trouble=_reason(error), sample=None, waiting=[], count=0)
        except Refusal as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise
            return pages.show(request, "label.html", trouble=error.detail, sample=None, waiting=[], count=0)
        return pages.show(request, "label.html", trouble="", sample=shown, waiting=waiting, count=count)

    @router.post("/label/{number}")
    async def give(request: Request, number: Annotated[int, Path(ge=1, le=MOST_NUMBER)]) -> Response:
        """Take the label of a picture, and show the next."""
        form = await read_form(request, pages.bin.sessions)
        verdict, _, label = form.get("answer", "").partition(":")
        known: dict[str, Verdict] = {"class": "class", "none": "none", "skip": "skip"}
        if verdict not in known:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "no such answer")
        await run_in_threadpool(archive.label, number, known[verdict], label or None, form.get("picture", ""))
        said = {"class": f"is {label}", "none": "is none of the classes", "skip": "is skipped"}[verdict]
        return pages.back(request, "/label", f"Picture {number} {said}.", f"/label/{number}")


def _add_models(router: APIRouter, pages: Pages) -> None:
    shelf = pages.bin.shelf

    @router.get("/model")
    def model(request: Request) -> Response:
        """The model that runs, and what else there is."""
        shown = model_of(pages.bin)
        card = pages.markdown(shown.card)
        return pages.show(
            request,
            "model.html",
            model=shown,
            card=card,
            may_install=shelf.may_install,
            upload_mb=pages.bin.upload_bytes // 1_000_000,
            refusal=pages.bin.refusal(),
        )

    @router.post("/model/install")
    async def install(request: Request) -> Response:
        """Install an offered bundle."""
        form = await read_form(request, pages.bin.sessions)
        return await _change(request, lambda: shelf.install(form.get("name", "")))

    @router.post("/model/rollback")
    async def rollback(request: Request) -> Response:
        """Go back to the bundle before."""
        await read_form(request, pages.bin.sessions)
        return await _change(request, shelf.rollback)

    async def _change(request: Request, action: Callable[[], str]) -> Response:
        try:
            notice = await run_in_threadpool(action)
        except SmartbinError as error:
            notice = f"Nothing was changed: {told(error)}."
        return pages.back(request, "/model", notice)


def _by_section(pages: Pages) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for setting in pages.bin.settings():
        found.setdefault(setting.key.rpartition(".")[0] or setting.key, []).append(setting)
    return found


def _part(percent: str) -> float | str:
    """Percent as a part of one; what is no number stays as it is, to be refused."""
    try:
        return round(float(percent) / 100, 4)
    except ValueError:
        return percent


def _own_path(path: str) -> str:
    """The path of one of the tabs, else the first: nobody is sent elsewhere."""
    return path if path in {tab.path for tab in TABS} else "/"


def _reason(error: Refusal | SmartbinError) -> str:
    return error.detail if isinstance(error, Refusal) else told(error)
