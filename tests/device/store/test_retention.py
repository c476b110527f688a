from __future__ import annotations

from contextlib import closing

import pytest

from device.store.database import EventStore
from device.store.paths import StorePaths
from device.store.retention import Retention, RetentionLimits, used_bytes
from tests.device.store.rows import DAY_MS, NOON_MS, decision, run


@pytest.fixture
def store(tmp_path):
    with closing(EventStore.open(StorePaths(tmp_path))) as opened:
        yield opened


def seqs(store):
    return [seq for (seq,) in store.connection.execute("SELECT seq FROM events ORDER BY id")]


def keep_picture(store, event_id, removed_ms=None):
    values = (event_id, f"{event_id}.jpg", removed_ms)
    store.connection.execute(
        "INSERT INTO samples (event_id, time_ms, reason, share, file, bytes, hash, removed_ms) "
        "VALUES (?, 0, 'uncertain', 1, ?, 1, '0', ?)",
        values,
    )


def test_events_beyond_the_age_go_with_their_runs(store):
    store.add(run("old"), [decision(1, NOON_MS - 20 * DAY_MS)])
    store.add(run("new"), [decision(seq, NOON_MS - seq * DAY_MS) for seq in range(15)])
    assert Retention(RetentionLimits(keep_days=10)).sweep(store.connection, NOON_MS) == 5
    assert seqs(store) == list(range(11))
    assert store.connection.execute("SELECT uid FROM runs").fetchall() == [("new",)]
    assert Retention(RetentionLimits(keep_days=10)).sweep(store.connection, NOON_MS) == 0


def test_an_event_whose_picture_is_kept_stays(store):
    ids = store.add(run(), [decision(seq, NOON_MS - 20 * DAY_MS) for seq in range(3)])
    store.add(run(), [decision(seq) for seq in range(10, 14)])
    keep_picture(store, ids[0])
    keep_picture(store, ids[1], removed_ms=5)
    Retention(RetentionLimits(keep_days=10)).sweep(store.connection, NOON_MS)
    assert seqs(store) == [0, 10, 11, 12, 13]
    assert store.connection.execute("SELECT event_id FROM samples").fetchall() == [(ids[0],)]


def test_the_oldest_go_when_it_is_too_large_and_the_file_shrinks(store, tmp_path):
    for start in range(0, 6000, 1000):
        store.add(run(), [decision(start + seq) for seq in range(1000)])
    limit = used_bytes(store.connection) // 2
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (tmp_path / "events.sqlite").stat().st_size
    gone = Retention(RetentionLimits(max_bytes=limit)).sweep(store.connection, NOON_MS)
    assert 3000 <= gone < 6000
    assert seqs(store) == list(range(gone, 6000)), "the newest are kept"
    assert used_bytes(store.connection) <= limit
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "events.sqlite").stat().st_size <= min(limit, before / 2)


def test_a_limit_that_only_kept_pictures_exceed_does_not_loop(store):
    ids = store.add(run(), [decision(seq) for seq in range(600)])
    with store.transaction():
        for event_id in ids:
            keep_picture(store, event_id)
    assert Retention(RetentionLimits(max_bytes=1)).sweep(store.connection, NOON_MS) == 0


class TestClockJumps:
    def make(self):
        self.now_s = 0.0
        return Retention(RetentionLimits(keep_days=10), lambda: self.now_s)

    @pytest.mark.parametrize("events", [1, 200])
    def test_a_clock_that_is_a_year_ahead_deletes_nothing_at_once(self, store, caplog, events):
        store.add(run(), [decision(seq) for seq in range(events)])
        retention = self.make()
        for self.now_s in (0.0, 600.0, 1200.0):
            assert retention.sweep(store.connection, NOON_MS + 365 * DAY_MS) == 0
        assert caplog.text.count("may have jumped") == 1
        assert retention.sweep(store.connection, NOON_MS) == 0
        self.now_s = 90_000.0
        assert retention.sweep(store.connection, NOON_MS + 365 * DAY_MS) == 0, "it was set right between"
        assert len(seqs(store)) == events

    def test_a_bin_that_was_off_for_a_year_forgets_after_a_day(self, store):
        store.add(run(), [decision(seq) for seq in range(1200)])
        retention = self.make()
        assert retention.sweep(store.connection, NOON_MS + 365 * DAY_MS) == 0
        self.now_s = 86_400.0
        assert retention.sweep(store.connection, NOON_MS + 365 * DAY_MS) == 1200
