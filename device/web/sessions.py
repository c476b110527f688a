"""Who is looking at the page: one cookie a browser, kept in memory, and the proof that a form came from the page."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

COOKIE = "smartbin"
LIFE_S = 30 * 86400.0
_MOST = 256


@dataclass(slots=True)
class Session:
    """One browser. `notice` is what the next page tells it, once, with the path of a page where it can be undone."""

    id: str
    seen_s: float
    signed_in: bool = False
    notice: str = ""
    undo: str = ""
    fresh: bool = field(default=True)
    """Whether the browser has still to be given the cookie."""


class Sessions:
    """The sessions by their random number; the least recently used one makes room. Any thread may ask."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, None if there is none (any more)."""
        with self._lock:
            session = self._sessions.get(cookie or "")
            if session is None:
                return None
            if self._now_s() - session.seen_s > LIFE_S:
                del self._sessions[session.id]
                return None
            session.seen_s, session.fresh = self._now_s(), False
            self._sessions.move_to_end(session.id)
            return session

    def begin(self, *, signed_in: bool = False) -> Session:
        """A new session with a number of its own."""
        session = Session(secrets.token_urlsafe(24), self._now_s(), signed_in)
        with self._lock:
            if len(self._sessions) >= _MOST:
                del self._sessions[self._next_to_go()]
            self._sessions[session.id] = session
        return session

    def end(self, session: Session) -> None:
        """Forget it."""
        with self._lock:
            self._sessions.pop(session.id, None)

    def forget(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._sessions.clear()

    def proof(self, session: Session) -> str:
        """What a form of this session must send back: another site can neither read nor guess it."""
        return hmac.new(self._key, session.id.encode(), hashlib.sha256).hexdigest()

    def proves(self, session: Session, given: str | None) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(self.proof(session).encode(), (given or "").encode("utf-8", "surrogatepass"))

    def _next_to_go(self) -> str:
        """Somebody who has not signed in, where there is one: strangers must not push out who has."""
        strangers = (name for name, session in self._sessions.items() if not session.signed_in)
        return next(strangers, None) or next(iter(self._sessions))
