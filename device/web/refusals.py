"""The problems that the API may answer with, for its OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from device.web.problems import MEDIA_TYPE, Problem


def refusals(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Those that any route may answer with, and these."""
    always = (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {int(status): {"description": status.phrase, "content": content} for status in (*always, *statuses)}
