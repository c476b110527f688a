from __future__ import annotations

from datetime import datetime, timezone

import pytest

from device.clock import ManualClock
from device.decision import Decision
from device.events import Event
from device.status import BUCKETS_MS, BinStatus, CountingTimer
from smartbin.brightness import Exposure


def told(kind: str, label: str | None) -> Event:
    decision = Decision(kind, label, 0.5, "general", 1, 3, 1.0, 2.0, Exposure(0.4, 0.0))
    return Event(datetime(2026, 1, 1, tzinfo=timezone.utc), "decision", decision=decision)


def test_accepted_decisions_are_counted_by_class_and_others_by_kind():
    status = BinStatus(ManualClock())
    for kind, label in (("accepted", "glass"), ("accepted", "glass"), ("uncertain", "glass"), ("too_dark", None)):
        status.event(told(kind, label))
    assert status.decisions == {("accepted", "glass"): 2, ("uncertain", ""): 1, ("too_dark", ""): 1}
    assert status.uncertain_share == 0.25
    assert status.told[-1].time_ms == 1_767_225_600_000


def test_months_of_decisions_take_no_more_memory():
    status = BinStatus(ManualClock())
    for _ in range(1000):
        status.event(told("uncertain", None))
    for _ in range(100):
        status.event(told("accepted", "glass"))
    assert len(status.told) == 20
    assert status.uncertain_share == 0.0, "only the newest hundred count"


def test_a_change_of_state_is_kept_with_its_reason():
    status = BinStatus(ManualClock())
    assert (status.lifecycle, status.uncertain_share) == ("STARTING", None)
    status.event(Event(datetime.now(timezone.utc), "lifecycle", lifecycle="CAMERA_LOST", reason="cable"))
    assert (status.lifecycle, status.reason) == ("CAMERA_LOST", "cable")


def test_time_since_the_newest_frame():
    clock = ManualClock()
    status = BinStatus(clock)
    clock.advance(2)
    assert status.without_frame_s == 2
    assert status.uptime_s == 2


@pytest.mark.parametrize(("duration_ms", "bucket"), [(0.5, 0), (1.0, 0), (1.01, 1), (5000.0, 11), (5001.0, 12)])
def test_a_duration_falls_into_its_bucket(duration_ms, bucket):
    timer = CountingTimer()
    timer.add("classify", duration_ms)
    assert timer.histograms["classify"].counts.index(1) == bucket
    assert len(timer.histograms["classify"].counts) == len(BUCKETS_MS) + 1
    assert timer.histograms["classify"].total_ms == duration_ms
    assert timer.summaries()["classify"].max_ms == duration_ms
