"""How many pictures may be kept in a minute, an hour and a day. Pure: the time is handed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


class Quota:
    """Counts what was taken in the last minute, hour and day, each sliding."""

    def __init__(self, per_minute: int, per_hour: int, per_day: int, taken_s: Iterable[float] = ()) -> None:
        self._limits = ((_MINUTE_S, per_minute), (_HOUR_S, per_hour), (_DAY_S, per_day))
        self._taken_s = deque(sorted(taken_s), maxlen=max(per_minute, per_hour, per_day))

    def allows(self, now_s: float) -> bool:
        """Whether one more may be taken at `now_s`, seconds of a clock that never goes backwards."""
        return all(self._since(now_s - span_s) < limit for span_s, limit in self._limits)

    def take(self, now_s: float) -> None:
        """One was taken."""
        self._taken_s.append(now_s)

    def _since(self, start_s: float) -> int:
        return sum(taken_s > start_s for taken_s in self._taken_s)
