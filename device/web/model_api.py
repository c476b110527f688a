"""`/api`, the models: which one runs, install, send, go back, read everything again."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.requests import Request

from device.web.context import Bin
from device.web.machine_models import Done, InstallRequest, ModelAnswer, OfferAnswer
from device.web.model_shelf import title
from device.web.refusals import refusals
from device.web.upload import take_bundle

RELOADS = (
    "Configuration and model are read again. They are taken as soon as no item is there, if they pass their test; else "
    "the bin goes on as it was, and this page says why."
)


def add_models(api: APIRouter, bin_: Bin) -> None:
    """Add the routes of the models, and of what is read again."""
    conflict = refusals(HTTPStatus.CONFLICT)

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
        responses=refusals(HTTPStatus.CONFLICT, HTTPStatus.LENGTH_REQUIRED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
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
