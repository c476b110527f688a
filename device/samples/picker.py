"""Which decisions are worth a picture, and which frame of the item is it. Pure: no disk, no thread, no clock.

Uncertain decisions always are; accepted ones are drawn at random, so that their labels say how often the bin is right.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

from device.decision import Decision
from device.events import FrameView
from device.region import crop_region
from smartbin.images import BgrImage

Reason: TypeAlias = Literal["uncertain", "random"]


@dataclass(frozen=True, slots=True)
class Picked:
    """A picture to keep: of the event `seq` of this run, why, and with what chance it was drawn."""

    seq: int
    time_ms: int
    reason: Reason
    share: float
    image: BgrImage


@dataclass(frozen=True, slots=True)
class _Wanted:
    seq: int
    time_ms: int
    reason: Reason
    share: float

    def of(self, image: BgrImage) -> Picked:
        return Picked(self.seq, self.time_ms, self.reason, self.share, image)


class Picker:
    """Sees every frame and every decision. Keeps one frame: the sharpest that was judged of the item that is there.

    Of a frame the region that was looked at: training is to see what the network sees. Frames are kept as they are, not
    copied: cameras deliver each in an array of its own.
    """

    def __init__(self, accepted_share: float, draw: random.Random | None = None) -> None:
        self._accepted_share = accepted_share
        self._draw = draw if draw is not None else random.SystemRandom()
        self._best: tuple[float, BgrImage] | None = None
        self._wanted: _Wanted | None = None

    def decided(self, decision: Decision, seq: int, time_ms: int) -> None:
        """A decision fell; the frame that it fell on comes next."""
        self._wanted = None
        if decision.kind == "uncertain":
            self._wanted = _Wanted(seq, time_ms, "uncertain", 1.0)
        elif decision.kind == "accepted" and self._draw.random() < self._accepted_share:
            self._wanted = _Wanted(seq, time_ms, "random", self._accepted_share)

    def frame(self, view: FrameView) -> Picked | None:
        """A frame went through, after the decision on it; the picture that is now worth keeping, if one is."""
        if self._wanted is None and view.state != "JUDGING":
            self._best = None
            return None
        judged, image = view.prediction is not None, crop_region(view.image, view.region)
        if judged and (self._best is None or view.sharpness >= self._best[0]):
            self._best = (view.sharpness, image)
        if self._wanted is None:
            return None
        picked = self._wanted.of(self._best[1] if self._best is not None else image)
        self._wanted = self._best = None
        return picked

    def finish(self) -> Picked | None:
        """No more frames: the picture of a decision that fell after the last one."""
        wanted, best = self._wanted, self._best
        self._wanted = self._best = None
        return wanted.of(best[1]) if wanted is not None and best is not None else None
