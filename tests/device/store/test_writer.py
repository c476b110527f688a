from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from device.store.database import EventStore
from device.store.paths import StorePaths
from device.store.reader import EventReader
from device.store.retention import Retention, RetentionLimits
from device.store.writer import StoreWriter
from tests.device.store.rows import DAY_MS, NOON_MS, decision, run


class Commits:
    """Remembers what was committed, and lets a test wait for it."""

    def __init__(self):
        self.batches, self.changed = [], threading.Condition()

    def __call__(self, ids):
        with self.changed:
            self.batches.append(list(ids))
            self.changed.notify_all()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: sum(map(len, self.batches)) >= count, 30)


@pytest.fixture
def paths(tmp_path):
    return StorePaths(tmp_path / "store")


@pytest.fixture
def commits():
    return Commits()


@pytest.fixture
def make(paths, commits):
    """Makes writers, and closes them."""
    made = []

    def make_one(**options):
        options = {"on_commit": commits, "retry_s": (0.005, 0.01), **options}
        writer = StoreWriter(paths, options.pop("retention", Retention(RetentionLimits())), **options)
        made.append(writer)
        return writer

    yield make_one
    for writer in made:
        writer.close()


def stored(paths):
    with EventReader(paths) as reader:
        return [one.event.seq for one in reader.latest(1000)][::-1]


class Gate:
    """Opens the store only once it is let."""

    def __init__(self):
        self.open, self.waiting = threading.Event(), threading.Event()

    def __call__(self, paths, *, check):
        self.waiting.set()
        assert self.open.wait(30)
        return EventStore.open(paths, check=check)


def test_a_single_event_is_committed_at_once(make, paths, commits):
    writer = make()
    writer.start(run())
    for seq in range(1, 4):
        writer.put(decision(seq))
        commits.wait_for(seq)
        assert stored(paths)[-1] == seq
    assert commits.batches == [[1], [2], [3]]
    assert writer.counts.written == 3


def test_what_waits_is_committed_together(make, paths, commits):
    gate = Gate()
    writer = make(open_store=gate)
    writer.start(run())
    for seq in range(1, 101):
        writer.put(decision(seq))
    gate.open.set()
    commits.wait_for(100)
    assert [len(batch) for batch in commits.batches] == [100]
    assert stored(paths) == list(range(1, 101))


def test_closing_writes_what_waits(make, paths):
    writer = make()
    for seq in range(50):
        writer.put(decision(seq))
    writer.start(run())
    assert writer.close()
    assert writer.close(), "twice does no harm"
    assert stored(paths) == list(range(50))


def test_a_disk_that_hangs_never_blocks_the_loop_and_drops_the_oldest(make, paths, commits):
    gate = Gate()
    writer = make(capacity=10, open_store=gate)
    writer.start(run())
    assert gate.waiting.wait(30)
    for seq in range(10_000):
        writer.put(decision(seq))
    assert writer.counts.dropped == 9_990
    assert not writer.close(timeout_s=0.01), "it says that something is left"
    gate.open.set()
    commits.wait_for(10)
    assert stored(paths) == list(range(9_990, 10_000))


class Disk:
    """A store on a disk that is full or read-only until it is mended. SQLite itself refuses, as it does then."""

    def __init__(self, pragma, mended):
        self.pragma, self.mended, self.broken = pragma, mended, True

    def __call__(self, paths, *, check):
        store = EventStore.open(paths, check=check)
        store.connection.execute(self.pragma if self.broken else self.mended)
        return store


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (Disk("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"), "disk is full"),
        (Disk("PRAGMA query_only = ON", "PRAGMA query_only = OFF"), "readonly"),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_does_not_let_us_is_said_once_and_writing_resumes(make, paths, commits, caplog, disk, told):
    tried = threading.Semaphore(0)

    def open_store(paths, *, check):
        tried.release()
        return disk(paths, check=check)

    writer = make(open_store=open_store, capacity=600)
    writer.start(run())
    for seq in range(1000):
        writer.put(decision(seq))
    for _ in range(4):
        assert tried.acquire(timeout=30)
    assert told in (writer.trouble or "")
    assert not writer.run_later(lambda store: None), "no pictures pile up meanwhile"
    disk.broken = False
    commits.wait_for(600)
    assert writer.close()
    assert stored(paths) == list(range(400, 1000))
    counts = writer.counts
    assert (counts.written, counts.dropped, counts.waiting, counts.damaged) == (600, 400, 0, 0)
    assert counts.failures >= 3
    assert caplog.text.count("events cannot be written") == 1
    assert caplog.text.count("events are written again") == 1
    assert writer.trouble is None


def test_a_folder_that_cannot_be_made_stops_nothing(make, paths, caplog):
    paths.folder.write_text("a file is in the way")
    writer = make()
    writer.start(run())
    writer.put(decision(1))
    assert not writer.close()
    assert "events cannot be written" in caplog.text
    assert "1 events were not written" in caplog.text


def test_a_damaged_store_is_put_aside_and_said_aloud(make, paths, commits, caplog):
    paths.samples.mkdir(parents=True)
    (paths.samples / "1.jpg").write_bytes(b"picture")
    paths.database.write_bytes(b"nonsense " * 1000)
    writer = make()
    writer.start(run())
    writer.put(decision(1))
    commits.wait_for(1)
    assert stored(paths) == [1]
    (aside,) = paths.folder.glob("events.damaged-*.sqlite")
    assert aside.read_bytes().startswith(b"nonsense")
    (pictures,) = paths.folder.glob("samples.damaged-*")
    assert (pictures / "1.jpg").read_bytes() == b"picture"
    assert str(aside) in caplog.text
    assert "damaged" in caplog.text
    assert writer.counts.damaged == 1


class Rotten(EventStore):
    """A store that turns out to be damaged while it is written."""

    def add(self, run, events):
        raise sqlite3.DatabaseError("database disk image is malformed")


def test_damage_that_shows_later_loses_no_waiting_event(make, paths, commits):
    opened = []

    def open_store(paths, *, check):
        store = EventStore.open(paths, check=check)
        opened.append(store)
        return Rotten(store.connection) if len(opened) == 1 else store

    writer = make(open_store=open_store)
    writer.start(run())
    writer.put(decision(1))
    writer.put(decision(2))
    commits.wait_for(2)
    assert stored(paths) == [1, 2]
    assert len(list(paths.folder.glob("events.damaged-*.sqlite"))) == 1


def test_a_disk_that_damages_every_new_store_is_waited_for(make, paths, commits, caplog):
    tried, healthy = threading.Semaphore(0), threading.Event()

    def open_store(paths, *, check):
        tried.release()
        store = EventStore.open(paths, check=check)
        return store if healthy.is_set() else Rotten(store.connection)

    writer = make(open_store=open_store)
    writer.start(run())
    writer.put(decision(1))
    for _ in range(5):
        assert tried.acquire(timeout=30)
    assert writer.counts.damaged == 1, "it does not fill the disk with copies"
    healthy.set()
    commits.wait_for(1)


def test_a_store_that_is_deleted_meanwhile_is_begun_anew(make, paths, commits):
    writer = make()
    writer.start(run())
    writer.put(decision(1))
    commits.wait_for(1)
    for path in paths.folder.iterdir():
        path.unlink()
    writer.put(decision(2))
    commits.wait_for(2)
    assert stored(paths) == [2]


def test_the_store_is_swept_at_the_start(make, paths, commits):
    with closing(EventStore.open(paths)) as store:
        store.add(run("old"), [decision(1), decision(2, NOON_MS + 9 * DAY_MS)])
    retention = Retention(RetentionLimits(keep_days=5))
    writer = make(retention=retention, wall_ms=lambda: NOON_MS + 10 * DAY_MS)
    writer.start(run())
    writer.close()
    assert stored(paths) == [2]


class TestTasks:
    def test_one_runs_after_the_events_before_it(self, make, paths, commits):
        gate, found = Gate(), []
        writer = make(open_store=gate)
        writer.start(run("cccc"))
        for seq in range(20):
            writer.put(decision(seq))
        assert writer.run_later(lambda store: found.append(store.event_id("cccc", 19)))
        gate.open.set()
        writer.close()
        assert found == [20]

    def test_more_than_a_few_are_dropped_and_counted(self, make):
        gate, ran = Gate(), []
        writer = make(open_store=gate)
        writer.start(run())
        assert gate.waiting.wait(30)
        taken = [writer.run_later(lambda store: ran.append(1)) for _ in range(10)]
        gate.open.set()
        writer.close()
        assert taken.count(True) == len(ran) == 4
        assert writer.counts.tasks_dropped == 6

    def test_one_that_fails_is_said_once_and_stops_no_event(self, make, paths, commits, caplog):
        writer = make()
        writer.start(run())

        def fail(store):
            raise OSError("no space for a picture")

        for seq in range(3):
            writer.put(decision(seq))
            writer.run_later(fail)
            commits.wait_for(seq + 1)
        writer.close()
        assert stored(paths) == [0, 1, 2]
        assert caplog.text.count("no space for a picture") == 1
        assert writer.counts.failures == 3
