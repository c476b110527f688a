"""Keeps the brightness correction of a stream of frames from flickering: the state that `smartbin.brightness` has not.

The gamma that a frame asks for depends on its noise and, at the edges of the band, jumps. It is followed with a time
constant, on a logarithmic scale. A frame in band is never corrected, whatever came before: that contract is older. So
where the light wavers about the edge, nothing is corrected until no frame has been in band for a moment.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

_EDGE_S = 0.1  # so long after a frame in band none is corrected: the light may only waver, or the picture be noisy
_DEADBAND = 0.01  # a gamma that is off by less than this part is left as it is: its table is at hand, too


class LightSettings(BaseModel):
    """How the brightness correction follows the light."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smooth_s: float = Field(
        default=0.15,
        ge=0,
        le=2,
        description="time constant with which the correction follows the light; 0: every frame for itself",
    )


class SteadyGamma:
    """The gamma of a stream of frames. After three time constants nineteen twentieths of a change are followed."""

    def __init__(self, smooth_s: float) -> None:
        self._smooth_s = smooth_s
        self._gamma: float | None = None
        self._last_s, self._in_band_s = 0.0, -math.inf

    def follow(self, now_s: float, wanted: float) -> float:
        """The gamma to apply at `now_s`, where a frame by itself would have `wanted`; 1 is none, for frames in band.

        The first frame, and one in band, are taken at their word.
        """
        since_s, self._last_s = max(0.0, now_s - self._last_s), now_s
        if wanted == 1.0:
            self._in_band_s = now_s
        if self._gamma is None or wanted == 1.0 or self._smooth_s == 0:
            self._gamma = wanted
            return wanted
        if 0 <= now_s - self._in_band_s < _EDGE_S:
            return 1.0
        step = math.log(wanted / self._gamma)
        if abs(step) > _DEADBAND:
            self._gamma *= math.exp(step * -math.expm1(-since_s / self._smooth_s))
        return round(self._gamma, 3)  # so that the table is at hand

    def forget(self) -> None:
        """Another view: its first frame is taken at its word."""
        self._gamma, self._in_band_s = None, -math.inf
