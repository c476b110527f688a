"""When a picture of a network stream was taken: by the stream's own stamps, which are of another clock.

A network that stalls hands over all at once what it held back; without the stamps those pictures would pass for new.
How long a picture takes at best is not known, and counts for nothing: its age is what it took longer than that.
"""

from __future__ import annotations

_LEARN_S = 5.0  # so long the stamps have to run as time does before they are believed
_TOLERANCE = 0.1  # part by which they may be faster or slower: clocks are not, but what some cameras write is
_FOLLOW = 0.2  # so fast the shortest way may grow, parts of a second in a second: more than what is tolerated


class StreamClock:
    """Of one opening of a stream. Pure: both times are handed in. Stamps that stand still or go back are not believed
    until they have run as time does for a while again.
    """

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float] = (0.0, 0.0)
        self._least_s = 0.0
        self._believed = False

    def taken_s(self, now_s: float, stamp_s: float) -> float:
        """When the picture that has come at `now_s` was taken, on the clock of `now_s`."""
        lag_s = now_s - stamp_s
        if self._first is None or stamp_s <= self._last[1]:
            self._first, self._believed = (now_s, stamp_s), False
        self._least_s = min(lag_s, self._least_s + _FOLLOW * (now_s - self._last[0]))
        self._last = (now_s, stamp_s)
        if not self._believed:
            self._believed = self._runs_as_time_does(now_s, stamp_s)
            self._least_s = lag_s
            return now_s
        return now_s - (lag_s - self._least_s)

    def _runs_as_time_does(self, now_s: float, stamp_s: float) -> bool:
        assert self._first is not None
        took_s, stamped_s = now_s - self._first[0], stamp_s - self._first[1]
        if took_s < _LEARN_S:
            return False
        if abs(stamped_s - took_s) <= _TOLERANCE * took_s:
            return True
        self._first = (now_s, stamp_s)  # learn again: it may have been a bad beginning
        return False
