"""What a page knows of its visitors. It outlives the page: after a reload nobody has to sign in again."""

from __future__ import annotations

from collections.abc import Callable

from device.web.sessions import Sessions
from device.web.token import GuessBrake, TokenCheck


class PageMemory:
    """The sessions and the counted guesses of a bin's page, from one run to the next."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.sessions, self.brake = Sessions(now_s), GuessBrake(now_s)
        self._token: TokenCheck | None = None

    def open_for(self, token: TokenCheck) -> None:
        """A page that wants this token begins. Whoever had signed in with another one has to sign in again."""
        if self._token is not None and not self._token.same_as(token):
            self.sessions.forget()
        self._token = token
