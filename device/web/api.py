"""`/api`: all that the page shows and does, for programs. Described by /api/openapi.json."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from device.region import Region
from device.region_choice import described
from device.web.charts import days_of
from device.web.config_view import Setting
from device.web.context import Bin
from device.web.live import BOUNDARY, Endless
from device.web.machine_load import read_load
from device.web.model_shelf import title
from device.web.models import (
    MOST_NUMBER,
    ClassLabel,
    Counts,
    DayAnswer,
    Done,
    EstimateAnswer,
    EventAnswer,
    EventPage,
    HealthAnswer,
    InstallRequest,
    LabelRequest,
    LiveState,
    ModelAnswer,
    OfferAnswer,
    QueueAnswer,
    RegionRequest,
    SampleAnswer,
    SamplePage,
    StageAnswer,
)
from device.web.problems import MEDIA_TYPE, Problem, Refusal
from device.web.upload import take_bundle

Number = Annotated[int, Path(ge=1, le=MOST_NUMBER)]
Before = Annotated[int | None, Query(ge=1, le=MOST_NUMBER, description="only ones before this number")]
_TOLD_EVERY_S, _ALIVE_S = 0.1, 10.0
_STREAMS = 16
_REGION: TypeAdapter[Region | None] = TypeAdapter(Region | None)


def _refusals(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the OpenAPI document."""
    always = (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {int(status): {"description": status.phrase, "content": content} for status in (*always, *statuses)}


def make_api(bin_: Bin) -> APIRouter:
    """The routes of a bin."""
    api = APIRouter(prefix="/api", responses=_refusals())
    _add_live(api, bin_)
    _add_history(api, bin_)
    _add_samples(api, bin_)
    _add_models(api, bin_)
    return api


def _add_live(api: APIRouter, bin_: Bin) -> None:
    listeners = 0

    def listener_left() -> None:
        nonlocal listeners
        listeners -= 1

    @api.get("/status", tags=["live"])
    def status() -> LiveState:
        """What the bin sees and thinks at this moment."""
        return LiveState.of(bin_.status)

    @api.get("/health", tags=["live"])
    def health() -> HealthAnswer:
        """How the bin is doing."""
        return health_of(bin_)

    @api.get(
        "/live", tags=["live"], response_class=StreamingResponse, responses=_refusals(HTTPStatus.SERVICE_UNAVAILABLE)
    )
    async def live() -> StreamingResponse:
        """`status` as server-sent events, whenever it changes, at most ten times a second. Never ends."""
        nonlocal listeners
        if listeners >= _STREAMS:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{listeners} others are listening already")
        listeners += 1
        return Endless(_changes(bin_), "text/event-stream", listener_left)

    @api.get(
        "/live.mjpg",
        tags=["live"],
        response_class=StreamingResponse,
        responses=_refusals(HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def pictures() -> StreamingResponse:
        """Live pictures, JPEG after JPEG. Never ends; only so many are served at once."""
        bin_.feed.admit()
        return Endless(bin_.feed.parts(), f"multipart/x-mixed-replace; boundary={BOUNDARY}", bin_.feed.leave)

    @api.put("/region", tags=["live"], responses=_refusals(HTTPStatus.CONFLICT))
    def region(asked: RegionRequest) -> Done:
        """Look at another part of the picture from the next frame on. Kept over restarts, until it is deleted or
        `[presence] region` says something else.
        """
        return Done(told=look_at(bin_, asked.region))

    @api.delete("/region", tags=["live"])
    def configured_region() -> Done:
        """Look at what the configuration says again."""
        return Done(told=look_as_configured(bin_))

    @api.get("/config", tags=["live"])
    def config() -> list[Setting]:
        """Every key of the configuration, its value, its default, and where the value came from. Secrets are hidden."""
        return bin_.settings()


async def _changes(bin_: Bin) -> AsyncIterator[str]:
    """The status as events of a stream; a comment now and then, so that both ends notice when the other has gone."""
    said, silent_s = "", 0.0
    while not bin_.feed.closed:
        text = LiveState.of(bin_.status).model_dump_json()
        if text != said:
            said, silent_s = text, 0.0
            yield f"data: {text}\n\n"
        elif silent_s >= _ALIVE_S:
            silent_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(_TOLD_EVERY_S)
        silent_s += _TOLD_EVERY_S


def _add_history(api: APIRouter, bin_: Bin) -> None:
    unavailable = _refusals(HTTPStatus.SERVICE_UNAVAILABLE)

    @api.get("/events", tags=["history"], responses=unavailable)
    def events(
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Before = None,
        kind: Literal["decision", "lifecycle"] | None = None,
        uid: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$", description="the one that was sent with it")] = None,
    ) -> EventPage:
        """What happened, newest first."""
        return event_page(bin_, limit, before, kind, uid)

    @api.get(
        "/events/{number}", tags=["history"], responses=_refusals(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND)
    )
    def event(number: Number) -> EventAnswer:
        """One event."""
        found = bin_.archive.event(number)
        return EventAnswer.of(found, bin_.archive.pictures_of([found]).get(found.id))

    @api.get("/counts", tags=["history"], responses=unavailable)
    def counts(days: Annotated[int, Query(ge=1, le=366)] = 14) -> Counts:
        """Decisions a day and class, and how often the model that runs is right, by the labels."""
        found, today = bin_.archive.days(days)
        accuracy = bin_.accuracy()
        return Counts(
            days=[DayAnswer(day=day.day.isoformat(), counts=day.counts) for day in days_of(found, today, days)],
            uncertain=bin_.archive.uncertain_share(days),
            accepted_right=EstimateAnswer.of(accuracy.accepted),
            uncertain_right=EstimateAnswer.of(accuracy.uncertain),
            guesses_right=EstimateAnswer.of(accuracy.guesses),
        )


def _add_samples(api: APIRouter, bin_: Bin) -> None:
    missing = _refusals(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND)

    @api.get("/samples", tags=["labels"], responses=_refusals(HTTPStatus.SERVICE_UNAVAILABLE))
    def samples(limit: Annotated[int, Query(ge=1, le=200)] = 50, before: Before = None) -> SamplePage:
        """Pictures that wait for a label, newest first."""
        found = bin_.archive.waiting(limit + 1, before)
        shown = found[:limit]
        return SamplePage(
            samples=[SampleAnswer.of(sample) for sample in shown],
            next=shown[-1].id if len(found) > limit else None,
            waiting=bin_.archive.waiting_count(),
        )

    @api.get("/samples/{number}", tags=["labels"], responses=missing)
    def sample(number: Number) -> SampleAnswer:
        """One picture, without the picture itself."""
        return SampleAnswer.of(bin_.archive.sample(number))

    @api.get(
        "/samples/{number}/image",
        tags=["labels"],
        response_class=Response,
        responses={
            **missing,
            200: {"content": {"image/jpeg": {}}, "description": "the picture"},
            304: {"description": "the caller has it already"},
        },
    )
    def image(number: Number, if_none_match: Annotated[str | None, Header(max_length=200)] = None) -> Response:
        """The picture, JPEG. Browsers ask whether theirs is still the one: a store that is begun anew counts anew."""
        name, content = bin_.archive.picture(number)
        headers = {"etag": f'"{name}"', "cache-control": "private, no-cache"}
        if if_none_match == headers["etag"]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, media_type="image/jpeg", headers=headers)

    refused = _refusals(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

    @api.put("/samples/{number}/label", tags=["labels"], responses=refused)
    def label(number: Number, given: LabelRequest) -> SampleAnswer:
        """Say what is on a picture; the newest label counts."""
        bin_.archive.label(number, given.verdict, given.label if isinstance(given, ClassLabel) else None)
        return SampleAnswer.of(bin_.archive.sample(number))


RELOADS = (
    "Configuration and model are read again. They are taken as soon as no item is there, if they pass their test; else "
    "the bin goes on as it was, and this page says why."
)


def _add_models(api: APIRouter, bin_: Bin) -> None:
    conflict = _refusals(HTTPStatus.CONFLICT)

    @api.get("/model", tags=["model"])
    def model() -> ModelAnswer:
        """The model that runs, the installed ones, and what may be installed."""
        return model_of(bin_)

    @api.post("/model/install", tags=["model"], responses=conflict)
    def install(chosen: InstallRequest) -> Done:
        """Install one of the offered bundles, if it passes its self-test on this machine."""
        return Done(told=bin_.shelf.install(chosen.name))

    @api.post(
        "/model/upload",
        tags=["model"],
        responses=_refusals(HTTPStatus.CONFLICT, HTTPStatus.LENGTH_REQUIRED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def send(request: Request) -> Done:
        """Send a signed bundle, as `smartbin bundle pack` makes it, and install it if it passes its self-test here."""
        return Done(told=await take_bundle(request, bin_.shelf, bin_.upload_bytes))

    @api.post("/model/rollback", tags=["model"], responses=conflict)
    def rollback() -> Done:
        """Go back to the bundle before."""
        return Done(told=bin_.shelf.rollback())

    @api.post("/reload", tags=["model"])
    def reload() -> Done:
        """Read the configuration and the model again; they are taken if they pass their test, else nothing changes."""
        bin_.reloader.request()
        return Done(told=RELOADS)


def look_at(bin_: Bin, region: object) -> str:
    """Make the bin look at a part of the picture; says how long. `Refusal` for what is no such part."""
    try:
        region = _REGION.validate_python(region)
    except ValidationError as error:
        raise Refusal(HTTPStatus.CONFLICT, error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    return _looks(region, bin_.region.draw(region))


def look_as_configured(bin_: Bin) -> str:
    """Make the bin look at what the configuration says; says what that is."""
    trouble = bin_.region.reset()
    return f"{_looks(bin_.region.configured, trouble)} So says the configuration."


def _looks(region: Region | None, trouble: str) -> str:
    what = "the whole picture" if region is None else f"this part, [presence] region = {described(region)}"
    kept = "" if not trouble else f" This holds until it is started again: it could not be kept ({trouble})."
    return f"The bin looks at {what}, and learns it anew: it must be empty now.{kept}"


def event_page(bin_: Bin, limit: int, before: int | None, kind: str | None, uid: str | None = None) -> EventPage:
    """A page of events with their pictures."""
    found = bin_.archive.events(limit + 1, before, kind, uid)
    shown = found[:limit]
    pictures = bin_.archive.pictures_of(shown)
    return EventPage(
        events=[EventAnswer.of(event, pictures.get(event.id)) for event in shown],
        next=shown[-1].id if len(found) > limit else None,
    )


def health_of(bin_: Bin) -> HealthAnswer:
    """How the bin is doing."""
    status, counts, trouble, refusal = bin_.status, bin_.status.counts, bin_.trouble(), bin_.refusal()
    queues = [QueueAnswer(**asdict(queue)) for queue in status.queues]
    return HealthAnswer(
        ready=not trouble,
        trouble=[
            *trouble,
            *(f"{queue.name} is failing: {queue.failing}" for queue in queues if queue.failing),
            *([f"what was to be read last was not taken: {refusal}"] if refusal else []),
        ],
        lifecycle=status.lifecycle,
        uptime_s=round(status.uptime_s, 1),
        frames=status.frames,
        captured=counts.captured,
        overwritten=counts.overwritten,
        too_old=counts.too_old,
        reconnects=counts.reconnects,
        refused=dict(counts.refused),
        repeated=counts.repeated,
        queues=queues,
        stages=[
            StageAnswer(stage=name, p50_ms=found.p50_ms, p95_ms=found.p95_ms, max_ms=found.max_ms)
            for name, found in status.timer.summaries().items()
        ],
        load=read_load(bin_.folders),
    )


def model_of(bin_: Bin) -> ModelAnswer:
    """The models of the bin."""
    shelf, session = bin_.shelf, bin_.status.session
    manifest = shelf.running.manifest
    return ModelAnswer(
        running=title(manifest),
        classes=list(manifest.classes),
        runtime=session.runtime if session is not None else "",
        passed_over=list(session.passed_over) if session is not None else [],
        min_confidence=manifest.thresholds.min_confidence,
        installed=shelf.installed(),
        previous=shelf.previous(),
        fixed=shelf.fixed,
        offers=[OfferAnswer(name=offer.name, told=offer.told) for offer in shelf.offers()],
        card=shelf.card(),
    )
