from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from device.store.database import EventStore
from device.store.paths import StorePaths
from device.store.reader import EventReader
from device.store.records import DayCount
from device.store.schema import SCHEMA_VERSION
from smartbin.errors import StoreError
from tests.device.store.rows import DAY_MS, NOON_MS, decision, lifecycle, run


@pytest.fixture
def paths(tmp_path):
    return StorePaths(tmp_path)


@pytest.fixture
def store(paths):
    with closing(EventStore.open(paths)) as opened:
        yield opened


def test_pages_go_back_to_the_first_event_without_gap_or_repeat(store, paths):
    store.add(run(), [decision(seq) for seq in range(25)])
    with EventReader(paths) as reader:
        page, seen = reader.latest(10), []
        while page:
            seen += [one.event.seq for one in page]
            page = reader.latest(10, before=page[-1].id)
            store.add(run(), [decision(100 + len(seen))])  # what comes meanwhile moves no page
    assert seen == list(range(24, -1, -1))


def test_filters(store, paths):
    store.add(run(), [lifecycle(1), decision(2), decision(3, NOON_MS + 5000), lifecycle(4, time_ms=NOON_MS + 9000)])
    with EventReader(paths) as reader:
        assert [one.event.seq for one in reader.latest(kind="decision")] == [3, 2]
        assert [one.event.seq for one in reader.latest(kind="lifecycle", since_ms=NOON_MS + 1)] == [4]
        assert reader.event(2).event == decision(2)
        assert reader.event(99) is None
        with pytest.raises(ValueError, match="1 to 1000"):
            reader.latest(0)


def test_one_event_by_the_id_that_was_sent(store, paths):
    store.add(run(), [decision(1), replace(decision(2), uid="aa"), replace(decision(3), uid="bb")])
    with EventReader(paths) as reader:
        assert [one.event.seq for one in reader.latest(uid="aa")] == [2]
        assert reader.latest(uid="cc") == []
    plan = store.connection.execute("EXPLAIN QUERY PLAN SELECT 1 FROM events WHERE events.uid = 'aa'").fetchall()
    assert "events_by_uid" in str(plan), "not by looking at every event"


def test_counts_a_day_and_class(store, paths):
    events = [decision(1), decision(2), decision(3, label="metal"), decision(4, NOON_MS + DAY_MS, "uncertain", "metal")]
    store.add(run(), [*events, decision(5, NOON_MS + DAY_MS, "too_dark", None), lifecycle(6)])
    with EventReader(paths) as reader:
        assert reader.day_counts(utc=True) == [
            DayCount("2026-01-02", "accepted", "glass", 2),
            DayCount("2026-01-02", "accepted", "metal", 1),
            DayCount("2026-01-03", "too_dark", None, 1),
            DayCount("2026-01-03", "uncertain", None, 1),
        ]
        assert len(reader.day_counts(NOON_MS + 1, utc=True)) == 2
        rate = reader.uncertain_rate()
        assert (rate.uncertain, rate.decisions, rate.share) == (1, 5, 0.2)
        assert reader.uncertain_rate(NOON_MS + 2 * DAY_MS).share is None


def test_days_are_those_of_the_machine(store, paths, monkeypatch):
    store.add(run(), [decision(1, NOON_MS + 11 * 3_600_000)])  # 23:00 UTC
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        with EventReader(paths) as reader:
            assert [one.day for one in reader.day_counts()] == ["2026-01-03"]
            assert [one.day for one in reader.day_counts(utc=True)] == ["2026-01-02"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_closed_store_can_be_read(paths):
    with closing(EventStore.open(paths)) as store:
        store.add(run(), [decision(1)])
    with EventReader(paths) as reader:
        assert [one.event.seq for one in reader.latest()] == [1]


def test_a_reader_cannot_write(store, paths):
    with EventReader(paths) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM events")


def test_no_store(paths):
    with pytest.raises(StoreError, match="no events here"):
        EventReader(paths)
    assert not paths.database.exists()


def test_a_damaged_store(paths):
    paths.database.write_bytes(b"nonsense " * 1000)
    with pytest.raises(StoreError, match="cannot be used"):
        EventReader(paths)


@pytest.mark.parametrize(("version", "told"), [(SCHEMA_VERSION + 1, "that wrote it"), (1, "brings it up to date")])
def test_another_version(store, paths, version, told):
    store.connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=told):
        EventReader(paths)
