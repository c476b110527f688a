"""`/api`: all that the page shows and does, for programs. Described by /api/openapi.json."""

from __future__ import annotations

from fastapi import APIRouter

from device.web.context import Bin
from device.web.live_api import add_live
from device.web.model_api import add_models
from device.web.refusals import refusals
from device.web.store_api import add_history, add_samples


def make_api(bin_: Bin) -> APIRouter:
    """The routes of a bin."""
    api = APIRouter(prefix="/api", responses=refusals())
    for add in (add_live, add_history, add_samples, add_models):
        add(api, bin_)
    return api
