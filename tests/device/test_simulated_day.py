"""A day of the daemon on a simulated clock: nothing is lost, nothing is counted twice, nothing gets stuck."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

pytest.importorskip("onnx")  # the tiny bundle is made with it
pytest.importorskip("fastapi")

from tests.device.simulated_day import PER_HOUR, RIGHT_H, WRONG_H, YEAR_S, live

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
KEEP_H = 12.0


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    """The days are those of Berlin, whatever this machine's are."""
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def when(record):
    return datetime.fromisoformat(record["time"])


def local_days(records):
    return Counter(when(record).astimezone().date().isoformat() for record in records)


def test_a_day_with_all_that_goes_wrong_in_it(tmp_path):
    start = datetime(2025, 12, 31, 11, tzinfo=timezone.utc)
    day = live(tmp_path, start, keep_h=KEEP_H)

    seen = day.seen
    assert 20 < len(seen) < len(day.visits), "some came in the dark"
    assert [record["label"] for record in day.decisions] == [visit.colour for visit in seen], "each is decided once"
    assert [record["item"] for record in day.decisions] == list(range(1, 1 + len(seen)))
    assert {record["decision"] for record in day.decisions} == {"accepted"}
    states = [record["state"] for record in day.told if record["event"] == "lifecycle"]
    assert states == ["STARTING", "RUNNING", "CAMERA_LOST", "RUNNING", "STOPPING"]
    assert day.state == "EMPTY"
    assert day.lights["too_dark"] > 200
    assert day.left == 0
    if day.heard is not None:
        assert day.heard == [{"device": "hall", **record} for record in day.told], "in order, though it was away"

    pictured = {picture.event_id for picture in day.pictures}
    kept = [one.event.uid for one in day.stored]
    old, sure = day.ended - timedelta(hours=KEEP_H), timedelta(hours=1.5)
    young = [record["id"] for record in day.told if when(record) >= old]
    assert set(young) <= set(kept), "nothing young is forgotten"
    for one in day.stored:
        told = datetime.fromtimestamp(one.event.time_ms / 1000, timezone.utc)
        assert told > old - sure or one.id in pictured, "and what is old is, unless it has a picture"
    assert len(kept) < len(day.told)
    assert kept == [record["id"] for record in day.told if record["id"] in set(kept)], "in order, each once"

    hours = Counter(picture.time_ms // 3_600_000 for picture in day.pictures)
    assert max(hours.values()) <= 2 * PER_HOUR, "two clock hours share one of the quota's"
    assert len(day.pictures) > 5 * PER_HOUR, "the quota has turned over"

    wrong = [when(record) for record in day.decisions if when(record) > start + timedelta(days=300)]
    shift = timedelta(seconds=YEAR_S - 40)
    assert wrong, "somebody came while the clock was wrong"
    for moment in wrong:
        assert start + timedelta(hours=WRONG_H) <= moment - shift <= start + timedelta(hours=RIGHT_H)

    expected = local_days([record for record in day.decisions if record["id"] in set(kept)])
    assert {name: number for name, number in day.page_days.items() if number} == {
        name: number for name, number in expected.items() if name in day.page_days
    }
    assert min(day.page_days["2025-12-31"], day.page_days["2026-01-01"]) > 0, "on both sides of midnight"
    before, after = day.objects
    assert after - before < day.frames / 2, "nothing is kept of each frame"


@pytest.mark.parametrize(
    ("start", "days"),
    [
        (datetime(2026, 3, 28, 20, tzinfo=timezone.utc), ["2026-03-28", "2026-03-29"]),
        (datetime(2026, 10, 24, 20, tzinfo=timezone.utc), ["2026-10-24", "2026-10-25"]),
    ],
    ids=["clocks go forward", "clocks go back"],
)
def test_days_of_23_and_25_hours_have_all_their_decisions(tmp_path, start, days):
    day = live(tmp_path, start, visits=24, keep_h=1000.0, seed=3)
    assert [record["label"] for record in day.decisions] == [visit.colour for visit in day.seen]
    assert [one.event.uid for one in day.stored] == [record["id"] for record in day.told]
    expected = local_days(day.decisions)
    assert [name for name in days if expected[name]] == days
    assert {name: day.page_days[name] for name in days} == {name: expected[name] for name in days}
