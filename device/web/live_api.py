"""`/api`, what the bin sees and how it is: status, health, live pictures, region, configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from http import HTTPStatus

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.responses import StreamingResponse

from device.region import Region
from device.region_choice import described
from device.web.config_view import Setting
from device.web.context import Bin
from device.web.live import BOUNDARY, Endless
from device.web.live_models import LiveState, RegionRequest
from device.web.machine_load import read_load
from device.web.machine_models import Done, HealthAnswer, QueueAnswer, StageAnswer
from device.web.problems import Refusal
from device.web.refusals import refusals

_TOLD_EVERY_S, _ALIVE_S = 0.1, 10.0
_STREAMS = 16
_REGION: TypeAdapter[Region | None] = TypeAdapter(Region | None)


def add_live(api: APIRouter, bin_: Bin) -> None:
    """Add the routes of what the bin sees now."""
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
        "/live", tags=["live"], response_class=StreamingResponse, responses=refusals(HTTPStatus.SERVICE_UNAVAILABLE)
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
        responses=refusals(HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def pictures() -> StreamingResponse:
        """Live pictures, JPEG after JPEG. Never ends; only so many are served at once."""
        bin_.feed.admit()
        return Endless(bin_.feed.parts(), f"multipart/x-mixed-replace; boundary={BOUNDARY}", bin_.feed.leave)

    @api.put("/region", tags=["live"], responses=refusals(HTTPStatus.CONFLICT))
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
