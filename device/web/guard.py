"""What every request passes before anything else looks at it: host, origin, size, who asks; and the headers of answers.

A plain ASGI application around the real one, so that no route can be forgotten.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from device.web.body import BODY_S, MOST_BODY, BoundedBody, too_large
from device.web.problems import is_for_programs, respond
from device.web.rate import RateLimit
from device.web.sessions import COOKIE, LIFE_S, Session, Sessions
from device.web.token import GuessBrake, TokenCheck

PROOF_HEADER = "x-csrf-token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEALTH = ("/healthz", "/readyz")
_OPEN = (*_HEALTH, "/login", "/static/")
"""What needs no token: health says yes or no, and without a style there is no way to sign in."""

HEADERS = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",  # with none at all, browsers hide the origin of the page's own forms, too
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "cache-control": "no-store",
    }
)


class Guard:
    """Lets requests through to `app`, or answers them itself. `scope["session"]` and `scope["bearer"]` say who asks.

    `uploads` are the paths that take more than a form, with the bytes and seconds that they may have.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: TokenCheck,
        sessions: Sessions,
        brake: GuessBrake,
        rate: RateLimit,
        names: Iterable[str],
        uploads: Mapping[str, tuple[int, float]] = MappingProxyType({}),
    ) -> None:
        self._app, self._token, self._sessions, self._brake, self._rate = app, token, sessions, brake, rate
        self._uploads = uploads
        host = socket.gethostname().lower()
        self._names = {"localhost", host, f"{host}.local", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._check(scope)
        answer = _with_headers(send, scope)
        if refused is not None:
            await refused(scope, receive, answer)
            return
        await self._app(scope, BoundedBody(receive, *self._limits(scope)), answer)

    def _limits(self, scope: Scope) -> tuple[int, float]:
        return self._uploads.get(scope["path"], (MOST_BODY, BODY_S))

    def _check(self, scope: Scope) -> Response | None:
        """Why the request is refused, or None."""
        headers, path = Headers(scope=scope), scope["path"]
        if not self._may_be_called(headers.get("host", "")):
            detail = "this name is none of the bin's; [page] names lists more"
            return respond(path, HTTPStatus.MISDIRECTED_REQUEST, detail)
        address = scope["client"][0] if scope.get("client") else ""
        if path not in _HEALTH and (wait_s := self._rate.wait_s(address)) > 0:
            detail = f"too many requests from one address; try again in {wait_s:.1f} s"
            return respond(path, HTTPStatus.TOO_MANY_REQUESTS, detail, {"retry-after": f"{int(wait_s) + 1}"})
        length, (most, _) = headers.get("content-length", "0"), self._limits(scope)
        if not length.isdecimal() or int(length) > most:
            return respond(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large(most), {"connection": "close"})
        scope["session"], scope["bearer"] = self._sessions.find(_cookie(headers)), False
        if (refused := self._bearer(scope, headers, address)) is not None:
            return refused
        if scope["method"] not in _SAFE and not scope["bearer"] and not self._is_own(scope, headers):
            return respond(path, HTTPStatus.FORBIDDEN, "the request comes from another site, or its page is too old")
        return None if self._may_enter(scope) else self._ask_for_token(scope)

    def _bearer(self, scope: Scope, headers: Headers, address: str) -> Response | None:
        """Take in a bearer token, where one is given and wanted."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._token.wanted:
            return None
        if (wait_s := self._brake.wait_s(address)) > 0:
            return respond(scope["path"], HTTPStatus.TOO_MANY_REQUESTS, *too_many(wait_s))
        if not self._token.fits(given.strip()):
            self._brake.failed(address)
            return respond(scope["path"], HTTPStatus.UNAUTHORIZED, "wrong token", {"www-authenticate": "Bearer"})
        scope["bearer"] = True
        return None

    def _is_own(self, scope: Scope, headers: Headers) -> bool:
        """Whether a request that changes something comes from the page itself, or from no browser at all.

        Browsers say where a request comes from (Sec-Fetch-Site; over a network without TLS only Origin), and
        other sites do not know the session's proof; forms carry theirs in the body, where their route checks it.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None and site not in ("same-origin", "none"):
            return False
        if site is None and origin is not None and _host_of(origin) != headers.get("host", "").lower():
            return False
        if not is_for_programs(scope["path"]):
            return True
        session: Session | None = scope["session"]
        if session is not None:
            return self._sessions.proves(session, headers.get(PROOF_HEADER))
        return site is None and origin is None

    def _may_enter(self, scope: Scope) -> bool:
        session: Session | None = scope["session"]
        signed_in = scope["bearer"] or (session is not None and session.signed_in)
        return not self._token.wanted or signed_in or scope["path"].startswith(_OPEN)

    def _ask_for_token(self, scope: Scope) -> Response:
        path = scope["path"]
        if is_for_programs(path):
            return respond(path, HTTPStatus.UNAUTHORIZED, "a token is needed", {"www-authenticate": "Bearer"})
        return RedirectResponse(f"/login?next={quote(path, safe='')}", HTTPStatus.SEE_OTHER)

    def _may_be_called(self, host: str) -> bool:
        """Addresses, and the bin's own names: a name of somebody else's that leads here is DNS rebinding."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return name.rstrip(".") in self._names
        return True


def too_many(wait_s: float) -> tuple[str, dict[str, str]]:
    """Detail and headers of "too many wrong tries"."""
    return f"too many wrong tokens; try again in {wait_s:.0f} s", {"retry-after": f"{int(wait_s) + 1}"}


def give_cookie(response: Response, session: Session, request: Request) -> None:
    """Hand a browser its session: for TLS alone, if it came by that.

    What a proxy in front says of that is taken from anybody: who lies about it keeps the cookie to himself.
    """
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").strip().lower())
    response.set_cookie(
        COOKIE, session.id, max_age=int(LIFE_S), path="/", secure=secure, httponly=True, samesite="strict"
    )


def _with_headers(send: Send, scope: Scope) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return answer


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _cookie(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None else None
