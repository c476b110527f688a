"""Garbage in a process that runs for months."""

from __future__ import annotations

import gc
import weakref

from device.heap import settled_heap


class Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def alive_after(allocations: int) -> int:
    """How many rings, each of which survives two young collections, are still in memory at the end."""
    seen: list[weakref.ref[Ring]] = []
    kept: list[Ring] = []
    for number in range(allocations):
        ring = Ring()
        kept.append(ring)
        seen.append(weakref.ref(ring))
        if number % 5_000 == 4_999:
            gc.collect(1)
            kept.clear()
    return sum(one() is not None for one in seen)


def test_old_garbage_goes_soon_although_much_was_there_before() -> None:
    before = gc.get_threshold()
    start = [[number] for number in range(400_000)]
    gc.collect()
    waiting = alive_after(20_000)
    with settled_heap():
        assert gc.get_freeze_count() > len(start)
        settled = alive_after(100_000)
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
    assert waiting > 15_000, "else Python has changed, and this is not needed any more"
    assert settled < 60_000


def test_what_was_there_is_collected_again_afterwards() -> None:
    ring = Ring()
    gone = weakref.ref(ring)
    with settled_heap():
        del ring
        gc.collect()
        assert gone() is not None
    gc.collect()
    assert gone() is None
