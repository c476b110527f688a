"""Growing pauses between tries, with jitter, so that fifty bins do not come back to a broker in the same instant."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Pauses that double from `first_s` up to `cap_s`; each is shortened by up to a part of it, the `jitter`.

    `chance`, 0 to 1, is how much of the jitter a pause is shortened by.
    """

    def __init__(
        self, first_s: float, cap_s: float, jitter: float = 0.5, chance: Callable[[], float] = random.random
    ) -> None:
        self._first_s, self._cap_s, self._jitter, self._chance = first_s, cap_s, jitter, chance
        self._tries = 0

    @property
    def longest_s(self) -> float:
        """The next pause, if it is not shortened."""
        return min(self._cap_s, self._first_s * 2.0 ** min(self._tries, 60))

    def next_s(self) -> float:
        """How long to wait before the next try."""
        pause_s = self.longest_s * (1 - self._jitter * self._chance())
        self._tries += 1
        return pause_s

    def reset(self) -> None:
        """It worked: begin again with the shortest pause."""
        self._tries = 0
