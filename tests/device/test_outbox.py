"""The broker's events on disk: order, limits, and what happens where the disk does not do as it should."""

from __future__ import annotations

import os
import sqlite3

import pytest

from device.sinks.outbox import Outbox


def payloads(outbox, after=0, limit=100):
    return [letter.payload for letter in outbox.after(after, limit)]


def fill(outbox, *numbers):
    for number in numbers:
        outbox.append(b"%d" % number)


def test_first_in_first_out_and_only_what_is_acknowledged_goes(tmp_path):
    outbox = Outbox(tmp_path / "deep" / "box.db", 100)
    fill(outbox, 1, 2, 3, 4)
    first = outbox.after(0, 2)
    assert [letter.payload for letter in first] == [b"1", b"2"]
    assert payloads(outbox, first[-1].number) == [b"3", b"4"]
    outbox.remove([first[1].number])
    assert payloads(outbox) == [b"1", b"3", b"4"]
    assert len(outbox) == 3
    outbox.close()


def test_it_survives_and_goes_on_in_order(tmp_path):
    first = Outbox(tmp_path / "box.db", 100)
    fill(first, 1, 2)
    first.close()
    second = Outbox(tmp_path / "box.db", 100)
    fill(second, 3)
    assert payloads(second) == [b"1", b"2", b"3"]
    second.close()


def test_the_oldest_make_room(tmp_path):
    outbox = Outbox(tmp_path / "box.db", 3)
    fill(outbox, *range(1, 8))
    assert payloads(outbox) == [b"5", b"6", b"7"]
    assert (len(outbox), outbox.dropped) == (3, 4)
    outbox.close()


def test_a_smaller_limit_than_last_time(tmp_path):
    first = Outbox(tmp_path / "box.db", 100)
    fill(first, *range(1, 8))
    first.close()
    second = Outbox(tmp_path / "box.db", 3)
    fill(second, 8)
    assert payloads(second) == [b"6", b"7", b"8"]
    assert second.dropped == 5
    second.close()


@pytest.mark.parametrize("damage", ["no database", "flipped bytes"])
def test_a_damaged_file_is_moved_aside(tmp_path, caplog, damage):
    path = tmp_path / "box.db"
    first = Outbox(path, 100)
    for _ in range(10):
        first.append(b"x" * 3000)
    first.close()
    content = bytearray(path.read_bytes())
    if damage == "no database":
        content[:100] = os.urandom(100)
    else:
        content[4096 + 8 : 8192] = os.urandom(4096 - 8)
    path.write_bytes(content)
    (tmp_path / "box.damaged-19990101T000000000000.db").write_text("the oldest")
    (tmp_path / "box.damaged-20010101T000000000000.db").write_text("an older one")
    second = Outbox(path, 100)
    fill(second, 1)
    assert payloads(second) == [b"1"]
    second.close()
    older, aside = sorted(tmp_path.glob("box.damaged-*.db"))
    assert older.read_text() == "an older one", "the two newest are kept"
    assert aside.read_bytes() == content
    assert "is damaged" in caplog.text


def test_a_disk_that_is_full_and_then_is_not(tmp_path, caplog):
    outbox = Outbox(tmp_path / "box.db", 100)
    fill(outbox, 1)
    (pages,) = outbox._database.execute("PRAGMA page_count").fetchone()
    outbox._database.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        outbox.append(b"x" * 20_000)  # SQLite's own "database or disk is full"
    assert caplog.text.count("the disk takes no events") == 1
    assert len(outbox) == 4
    outbox._database.execute("PRAGMA max_page_count = 100000")
    fill(outbox, 2)
    assert [payload[:1] for payload in payloads(outbox)] == [b"1", b"x", b"x", b"x", b"2"]
    outbox.remove(letter.number for letter in outbox.after(0, 4))
    assert payloads(outbox) == [b"2"]
    outbox.close()
    again = Outbox(tmp_path / "box.db", 100)
    assert payloads(again) == [b"2"]
    again.close()


def test_a_disk_that_becomes_read_only_sends_nothing_twice(tmp_path):
    outbox = Outbox(tmp_path / "box.db", 100)
    fill(outbox, 1, 2)
    outbox._database.execute("PRAGMA query_only = 1")
    outbox.remove([outbox.after(0, 1)[0].number])
    assert payloads(outbox) == [b"2"]
    fill(outbox, 3)
    assert payloads(outbox) == [b"2", b"3"]
    assert len(outbox) == 2
    outbox._database.execute("PRAGMA query_only = 0")
    outbox.remove([outbox.after(0, 1)[0].number])
    assert payloads(outbox) == [b"3"]
    assert outbox._database.execute("SELECT COUNT(*) FROM outbox").fetchone() == (0,)
    outbox.close()


def test_where_no_file_can_be_made_it_works_in_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    outbox = Outbox(tmp_path / "file" / "box.db", 100)
    fill(outbox, 1)
    assert payloads(outbox) == [b"1"]
    assert "do not survive a restart" in caplog.text
    outbox.close()


def test_a_locked_file_is_not_taken_for_a_damaged_one(tmp_path, caplog):
    Outbox(tmp_path / "box.db", 100).close()
    other = sqlite3.connect(tmp_path / "box.db")
    other.execute("BEGIN EXCLUSIVE")
    outbox = Outbox(tmp_path / "box.db", 100)
    fill(outbox, 1)
    assert payloads(outbox) == [b"1"]
    outbox.close()
    other.rollback()
    other.close()
    assert not list(tmp_path.glob("*.damaged-*"))
    assert "locked" in caplog.text
