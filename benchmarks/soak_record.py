"""What a soak remembers of the daemon, and what of it shows that a fault was noticed."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from device.capture import CaptureCounts
from device.fault_camera import InjectedFault
from device.fault_plan import FaultKind

_MARGIN_S = 0.5  # after a fault, in which what it did may still show
_GAP_S = 0.4  # a pause between two frames that a good camera never makes
_SINCE_BEGIN: frozenset[FaultKind] = frozenset({"freeze", "corrupt", "wrong_size", "wrong_channels"})
"""Cured by opening the camera anew, so that recovery counts from the fault's begin; else from its end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon counted at a moment, seconds of the monotonic clock."""

    now_s: float
    counts: CaptureCounts


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one fault: whether the daemon noticed it, and the seconds until its next good frame."""

    noticed: bool
    recovery_s: float


class Tally:
    """What became of all faults of a kind: how many were noticed, and the recovery of each."""

    def __init__(self) -> None:
        self.noticed, self.recoveries_s = 0, array("d")

    def add(self, seen: Seen) -> None:
        """One more."""
        self.noticed += seen.noticed
        self.recoveries_s.append(seen.recovery_s)


class Record:
    """What was seen since the oldest fault that is not judged yet: moments of frames, and what was counted when.

    Older things are forgotten, so that a soak of any length holds a few seconds: its memory is the daemon's.
    """

    def __init__(self) -> None:
        self.frames, self.good, self.dark = array("d"), array("d"), array("d")
        self.samples: list[Sample] = []

    def __len__(self) -> int:
        """How many moments are held."""
        return len(self.frames) + len(self.good) + len(self.dark) + len(self.samples)

    def forget(self, before_s: float) -> None:
        """Forget all before a moment but the last sample."""
        for moments in (self.frames, self.good, self.dark):
            del moments[: bisect_left(moments, before_s)]
        older = bisect_left(self.samples, before_s, key=lambda sample: sample.now_s)
        del self.samples[: max(0, older - 1)]


def look_back(fault: InjectedFault, following: InjectedFault | None, record: Record) -> Seen | None:
    """What became of a fault, given the one after it; None as long as it is on or no good frame came after it."""
    if fault.ended_s is None:
        return None
    place = bisect_left(record.good, fault.ended_s)
    if place == len(record.good):
        return None
    good_s, until_s = record.good[place], fault.ended_s + _MARGIN_S
    if following is not None:
        until_s = min(until_s, following.begun_s)
    noticed = _SIGNS[fault.kind](record, fault.begun_s, max(until_s, good_s))
    return Seen(noticed, good_s - (fault.begun_s if fault.kind in _SINCE_BEGIN else fault.ended_s))


def _pauses(record: Record, begun_s: float, until_s: float) -> bool:
    inside = [begun_s, *_between(record.frames, begun_s, until_s), until_s]
    return bool(np.diff(inside).max() >= _GAP_S)


def _too_old(record: Record, begun_s: float, until_s: float) -> bool:
    return _rises(lambda counts: counts.too_old, record, begun_s, until_s) or _pauses(record, begun_s, until_s)


def _repeats(record: Record, begun_s: float, until_s: float) -> bool:
    return _rises(lambda counts: counts.repeated, record, begun_s, until_s)


def _is_dark(record: Record, begun_s: float, until_s: float) -> bool:
    return len(_between(record.dark, begun_s, until_s)) > 0


def _between(moments: array[float], begun_s: float, until_s: float) -> array[float]:
    return moments[bisect_left(moments, begun_s) : bisect_right(moments, until_s)]


def _refuses(*reasons: str) -> Callable[[Record, float, float], bool]:
    def sign(record: Record, begun_s: float, until_s: float) -> bool:
        def refused(counts: CaptureCounts) -> int:
            return sum(count for reason, count in counts.refused if reason in reasons)

        return _rises(refused, record, begun_s, until_s)

    return sign


def _rises(count: Callable[[CaptureCounts], int], record: Record, begun_s: float, until_s: float) -> bool:
    """Whether a count is higher after an interval than before it."""
    moments = [sample.now_s for sample in record.samples]
    before, after = bisect_left(moments, begun_s) - 1, bisect_left(moments, until_s)
    first = count(record.samples[before].counts) if before >= 0 else 0
    return count(record.samples[min(after, len(moments) - 1)].counts) > first


_SIGNS: Mapping[FaultKind, Callable[[Record, float, float], bool]] = MappingProxyType(
    {
        "slow": _too_old,
        "stall": _pauses,
        "freeze": _repeats,
        "black": _is_dark,
        "corrupt": _refuses("empty", "torn"),
        "unplug": _pauses,
        "wrong_size": _refuses("size"),
        "wrong_channels": _refuses("channels"),
    }
)
"""Of each kind, what the metrics show of it."""
