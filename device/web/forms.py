"""Forms that the page sends: small, URL-encoded, and with the proof that they come from this page."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request

from device.web.problems import Refusal
from device.web.sessions import Session, Sessions

PROOF_FIELD = "proof"
_MOST_FIELDS = 20


async def read_form(request: Request, sessions: Sessions) -> dict[str, str]:
    """The fields of a form; 403 unless it was made for this session, 422 if it is no form."""
    try:
        pairs = parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except (ValueError, UnicodeDecodeError):
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "this is not a form of the page") from None
    fields = dict(pairs)
    session: Session | None = request.scope["session"]
    if request.scope["bearer"]:
        return fields
    if session is None or not sessions.proves(session, fields.get(PROOF_FIELD)):
        raise Refusal(HTTPStatus.FORBIDDEN, "this form is too old; open the page again")
    return fields
