"""How many requests an address may make: a script that runs wild must not keep the bin from its work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from device.web.token import network_of

_BURST_S = 6.0  # what an address has saved up at most: a page with all its pictures comes at once
_ADDRESSES = 1024  # remembered at most


class RateLimit:
    """So many requests a second and address on average, after a rest six seconds' worth at once. 0 a second: no limit.

    A bucket for each address that fills as time goes by, and of which each request takes one.
    """

    def __init__(self, per_s: float, now_s: Callable[[], float]) -> None:
        self._per_s, self._now_s = per_s, now_s
        self._most = max(1.0, per_s * _BURST_S)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """0 for a request that is let through, which is counted; else how long until the next one is."""
        if self._per_s <= 0:
            return 0.0
        network, now_s = network_of(address), self._now_s()
        held, then_s = self._buckets.pop(network, (self._most, now_s))
        held = min(self._most, held + (now_s - then_s) * self._per_s)
        passes = held >= 1.0
        self._buckets[network] = (held - 1.0 if passes else held, now_s)
        while len(self._buckets) > _ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1.0 - held) / self._per_s
