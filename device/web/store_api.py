"""`/api`, what was kept: events, counts, pictures and their labels."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from device.web.charts import days_of
from device.web.context import Bin
from device.web.refusals import refusals
from device.web.store_models import (
    MOST_NUMBER,
    ClassLabel,
    Counts,
    DayAnswer,
    EstimateAnswer,
    EventAnswer,
    EventPage,
    LabelRequest,
    SampleAnswer,
    SamplePage,
)

Number = Annotated[int, Path(ge=1, le=MOST_NUMBER)]
Before = Annotated[int | None, Query(ge=1, le=MOST_NUMBER, description="only ones before this number")]


def add_history(api: APIRouter, bin_: Bin) -> None:
    """Add the routes of what happened."""
    unavailable = refusals(HTTPStatus.SERVICE_UNAVAILABLE)

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
        "/events/{number}", tags=["history"], responses=refusals(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND)
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


def add_samples(api: APIRouter, bin_: Bin) -> None:
    """Add the routes of pictures and labels."""
    missing = refusals(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND)

    @api.get("/samples", tags=["labels"], responses=refusals(HTTPStatus.SERVICE_UNAVAILABLE))
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

    refused = refusals(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

    @api.put("/samples/{number}/label", tags=["labels"], responses=refused)
    def label(number: Number, given: LabelRequest) -> SampleAnswer:
        """Say what is on a picture; the newest label counts."""
        bin_.archive.label(number, given.verdict, given.label if isinstance(given, ClassLabel) else None)
        return SampleAnswer.of(bin_.archive.sample(number))


def event_page(bin_: Bin, limit: int, before: int | None, kind: str | None, uid: str | None = None) -> EventPage:
    """A page of events with their pictures."""
    found = bin_.archive.events(limit + 1, before, kind, uid)
    shown = found[:limit]
    pictures = bin_.archive.pictures_of(shown)
    return EventPage(
        events=[EventAnswer.of(event, pictures.get(event.id)) for event in shown],
        next=shown[-1].id if len(found) > limit else None,
    )
