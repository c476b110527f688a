from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from device.store import schema
from device.store.database import EventStore, check_version, is_damage
from device.store.paths import StorePaths
from device.store.reader import EventReader
from device.store.schema import MIGRATIONS, SCHEMA_VERSION
from smartbin.errors import ConfigError
from tests.device.store.rows import decision, lifecycle, run


@pytest.fixture
def paths(tmp_path):
    return StorePaths(tmp_path / "store")


def pragma(store, name):
    return store.connection.execute(f"PRAGMA {name}").fetchone()[0]


def old_store(paths, version, rows=0):
    """A store as version `version` of the tables left it."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(paths.database, isolation_level=None)) as connection:
        for step in MIGRATIONS[:version]:
            connection.executescript(step)
        connection.execute("INSERT INTO runs VALUES (1, 'old', 1, 's', 'm', 'n', 'v', 'r', '[]')")
        for seq in range(rows):
            connection.execute("INSERT INTO events (run_id, seq, time_ms, kind) VALUES (1, ?, 5, 'lifecycle')", (seq,))
        connection.execute(f"PRAGMA user_version = {version}")


def test_a_commit_survives_a_power_cut_by_its_settings(paths):
    with closing(EventStore.open(paths)) as store:
        assert pragma(store, "journal_mode") == "wal"
        assert pragma(store, "synchronous") == 2, "FULL: the log is synced at every commit"
        assert pragma(store, "auto_vacuum") == 2
        assert pragma(store, "foreign_keys") == 1
        assert pragma(store, "user_version") == SCHEMA_VERSION


def test_what_goes_in_comes_out(paths):
    events = [decision(1), lifecycle(2, "CAMERA_LOST", "unplugged"), decision(3, kind="too_dark", label=None)]
    with closing(EventStore.open(paths)) as store:
        ids = store.add(run(), events)
    with EventReader(paths) as reader:
        stored = reader.latest()
    assert [one.event for one in stored] == events[::-1]
    assert [one.id for one in stored] == ids[::-1]
    assert {one.run for one in stored} == {run()}


def test_an_event_that_is_there_is_not_added_again(paths):
    with closing(EventStore.open(paths)) as store:
        first = store.add(run(), [decision(1), decision(2)])
        again = store.add(run(), [decision(2), decision(3)])
        other_run = store.add(run("bbbb"), [decision(2)])
    assert again[0] == first[1]
    assert len({*first, *again, *other_run}) == 4


def test_a_batch_is_all_or_nothing(paths):
    with closing(EventStore.open(paths)) as store:
        with pytest.raises(sqlite3.IntegrityError) as caught:
            store.add(run(), [decision(1), lifecycle(2).__class__(2, 0, "nonsense")])
        assert not is_damage(caught.value)
        assert store.connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
        assert store.add(run(), [decision(1)]) == [1]


def test_every_older_version_is_brought_forward(paths):
    for version in range(1, SCHEMA_VERSION):
        old_store(paths, version, rows=3)
        with closing(EventStore.open(paths)) as store:
            assert pragma(store, "user_version") == SCHEMA_VERSION
            assert store.connection.execute("SELECT count(*) FROM events").fetchone() == (3,)
            assert store.connection.execute("SELECT count(*) FROM current_labels").fetchone() == (0,)
            assert store.add(run(), [decision(1), replace(decision(2), uid="abc")]) == [4, 5]
        with EventReader(paths) as reader:
            assert [one.event.uid for one in reader.latest()] == ["abc", None, None, None, None]
            assert [one.id for one in reader.latest(uid="abc")] == [5]
        shutil.rmtree(paths.folder)


def test_a_step_that_fails_leaves_the_old_version(paths, monkeypatch):
    old_store(paths, 1, rows=3)
    monkeypatch.setattr(schema, "MIGRATIONS", (MIGRATIONS[0], "CREATE TABLE half (x);\nCREATE NONSENSE;\n"))
    with pytest.raises(sqlite3.OperationalError, match="NONSENSE"):
        EventStore.open(paths)
    monkeypatch.undo()
    with closing(sqlite3.connect(paths.database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    with closing(EventStore.open(paths)) as store:
        assert pragma(store, "user_version") == SCHEMA_VERSION


@pytest.mark.parametrize("refuse", [check_version, EventStore.open], ids=["at the start", "by the writer"])
def test_a_newer_store_is_refused_and_left_as_it_is(paths, refuse):
    old_store(paths, SCHEMA_VERSION)
    with closing(sqlite3.connect(paths.database)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = paths.database.read_bytes()
    with pytest.raises(ConfigError, match="newer smartbin") as caught:
        refuse(paths)
    assert str(paths.database) in str(caught.value)
    assert paths.database.read_bytes() == before
    assert [path.name for path in paths.folder.iterdir()] == ["events.sqlite"]


def test_no_store_and_a_damaged_one_are_not_refused_as_newer(paths):
    check_version(paths)
    paths.folder.mkdir()
    paths.database.write_bytes(b"nonsense " * 1000)
    check_version(paths)


def test_a_file_that_is_no_store_is_damage(paths):
    paths.folder.mkdir()
    paths.database.write_bytes(b"nonsense " * 1000)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        EventStore.open(paths)
    assert is_damage(caught.value)


def test_a_damaged_page_is_found_on_opening(paths):
    with closing(EventStore.open(paths)) as store:
        store.add(run(), [decision(seq) for seq in range(2000)])
    with paths.database.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 4096 * 20)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        EventStore.open(paths)
    assert is_damage(caught.value)


def test_a_log_that_is_cut_anywhere_loses_only_what_was_not_committed(paths, tmp_path):
    """A power cut leaves the log with any length above what was synced, and its last part may be nonsense."""
    log = paths.database.with_name("events.sqlite-wal")
    draw = random.Random(7)
    with closing(EventStore.open(paths)) as store:
        sizes = []
        for seq in range(40):
            store.add(run(), [decision(seq)])
            sizes.append(log.stat().st_size)
        whole, torn = log.read_bytes(), StorePaths(tmp_path / "torn")
        for trial in range(60):
            committed = draw.randrange(1, 40)
            end = draw.randint(sizes[committed - 1], sizes[committed])
            shutil.rmtree(torn.folder, ignore_errors=True)
            torn.folder.mkdir()
            shutil.copy(paths.database, torn.database)
            tail = draw.randbytes(draw.randrange(3000)) if trial % 2 else b""
            torn.database.with_name("events.sqlite-wal").write_bytes(whole[:end] + tail)
            with closing(EventStore.open(torn)) as after:
                assert after.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                (count,) = after.connection.execute("SELECT count(*) FROM events").fetchone()
                assert committed <= count <= committed + 1


class TestPaths:
    def test_only_one_may_write(self, paths):
        with paths.lock(), pytest.raises(ConfigError, match="another smartbin"):
            paths.lock()
        paths.lock().close()

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match="Not a directory"):
            StorePaths(tmp_path / "file" / "store").lock()

    def test_all_of_it_is_put_aside_and_old_ones_are_forgotten(self, paths):
        for number in range(4):
            paths.samples.mkdir(parents=True)
            (paths.samples / f"{number}.jpg").write_bytes(b"")
            paths.database.write_text(str(number))
            paths.database.with_name("events.sqlite-wal").write_text(f"log {number}")
            paths.database.with_name("events.sqlite-shm").write_text("")
            aside = paths.put_aside()
            assert aside.read_text() == str(number)
            assert aside.with_name(aside.name + "-wal").read_text() == f"log {number}"
            assert not paths.samples.exists()
        names = sorted(path.name.split("-")[0] for path in paths.folder.iterdir())
        assert names == ["events.damaged"] * 4 + ["samples.damaged"] * 2
        assert aside.exists(), "the newest is kept"
