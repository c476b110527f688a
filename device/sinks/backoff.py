"""Growing pauses between tries, with jitter, so that fifty bins do not come back to a broker in the same instant."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double from `first_s` up to `cap_s`; each is shortened at random by up to a half."""

    def __init__(self, first_s: float, cap_s: float, chance: random.Random | None = None) -> None:
        self._first_s, self._cap_s = first_s, cap_s
        self._chance = chance if chance is not None else random.Random()
        self._tries = 0

    def next_s(self) -> float:
        """How long to wait before the next try."""
        pause_s = min(self._cap_s, self._first_s * 2.0 ** min(self._tries, 60))
        self._tries += 1
        return pause_s * self._chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: begin again with the shortest pause."""
        self._tries = 0
