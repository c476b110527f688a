"""The topics of one bin, and what is said on the one that tells whether it is there."""

from __future__ import annotations

from dataclasses import dataclass

ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True)
class Topics:
    """`PREFIX/NAME/availability` and `…/state` are retained; an event on `…/event` may come again, with its id."""

    prefix: str
    name: str

    @property
    def availability(self) -> str:
        """`online` or `offline`, the latter also by the broker when the bin has vanished."""
        return f"{self.prefix}/{self.name}/availability"

    @property
    def state(self) -> str:
        """What the bin is doing, its last decision and its counts, one JSON object."""
        return f"{self.prefix}/{self.name}/state"

    @property
    def event(self) -> str:
        """One JSON object an event."""
        return f"{self.prefix}/{self.name}/event"

    @property
    def command(self) -> str:
        """What this bin is asked to do, if it takes orders."""
        return f"{self.prefix}/{self.name}/command"

    @property
    def answer(self) -> str:
        """What it says to that."""
        return f"{self.prefix}/{self.name}/answer"
