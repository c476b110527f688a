"""Every event as a POST to a web server, signed where a secret is given, tried again where that can help.

Headers beside JSON's: `X-Smartbin-Event` (the event's id: a server that gets it twice knows it again),
`X-Smartbin-Timestamp` (seconds since 1970, of this try) and `X-Smartbin-Signature`, which is `sha256=` and the
hexadecimal HMAC-SHA256 of the timestamp, a dot and the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from typing import IO

from device.clock import Clock
from device.events import Event, Session
from device.sinks.json_lines import event_record
from device.sinks.queued_sink import DeliveryRefusedError, QueuedSink, QueueRules, RetryLaterError
from device.sinks.secret import read_secret
from device.sinks.settings import WebhookSettings
from smartbin import __version__

_TRY_AGAIN = frozenset({408, 425, 429})  # beside all from 500 on
_ANSWER_BYTES = 64 * 1024  # more of an answer is not read


class WebhookReceiver:
    """Posts with the standard library: one request an event, no redirects followed, certificates verified."""

    def __init__(self, settings: WebhookSettings, name: str) -> None:
        self._settings, self._name = settings, name
        self._secret = read_secret(settings.secret, settings.secret_file, "[sinks.webhook] secret_file").encode()
        self._classes: tuple[str, ...] = ()
        self._opener = urllib.request.build_opener(_NoRedirects)

    def wants(self, event: Event) -> bool:
        """Decisions, or everything."""
        return event.kind == "decision" or self._settings.events == "all"

    def start(self, session: Session) -> None:
        """Remember the class names; they name the probabilities."""
        self._classes = session.classes

    def tick(self) -> float | None:
        """Nothing is due without an event."""
        return None

    def deliver(self, event: Event) -> None:
        """Post once. `DeliveryRefusedError` where the server will never take it."""
        record = {"device": self._name, **event_record(event, self._classes)}
        request = self._request(event.id, json.dumps(record, ensure_ascii=False).encode())
        try:
            with self._opener.open(request, timeout=self._settings.timeout_s) as answer:
                answer.read(_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                _raise_for(error.code, error.reason, error.headers.get("Retry-After"))
        except HTTPException as error:
            raise ConnectionError(f"no HTTP in the answer: {error!r}") from error

    def close(self) -> None:
        """Nothing is open between two events."""

    def _request(self, event_id: str, body: bytes) -> urllib.request.Request:
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"smartbin/{__version__}",
            "X-Smartbin-Event": event_id,
            "X-Smartbin-Timestamp": timestamp,
        }
        if self._secret:
            headers["X-Smartbin-Signature"] = signature(self._secret, timestamp, body)
        return urllib.request.Request(self._settings.url, data=body, headers=headers, method="POST")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without the event."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow none: the answer is then an error of its code."""


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of `X-Smartbin-Signature`; receivers compare it in constant time and refuse old timestamps."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def open_webhook(settings: WebhookSettings, name: str, clock: Clock) -> QueuedSink:
    """The sink of `[sinks.webhook]`; `ConfigError` if its secret cannot be read."""
    rules = QueueRules(
        limit=settings.queue,
        attempts=settings.attempts,
        first_s=settings.first_s,
        cap_s=settings.cap_s,
        flush_s=settings.flush_s,
        block_s=settings.timeout_s,
    )
    return QueuedSink("webhook", WebhookReceiver(settings, name), rules, clock)


def _raise_for(code: int, reason: str, retry_after: str | None) -> None:
    what = f"the server answered {code} {reason}"
    if code < 500 and code not in _TRY_AGAIN:
        hint = "; redirects are not followed, configure the new address" if 300 <= code < 400 else ""
        raise DeliveryRefusedError(what + hint)
    raise RetryLaterError(what, _seconds(retry_after))


def _seconds(retry_after: str | None) -> float:
    """`Retry-After` as seconds from now, 0 where there is none or it cannot be read."""
    if retry_after is None:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0
