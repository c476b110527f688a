from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from device.samples.labels import SampleBook
from device.samples.picker import Picked
from device.samples.ring import encode, sample_name, used_bytes
from device.store.database import EventStore
from smartbin.images import decode_image, read_image
from tests.device.samples.staged import bench, picture
from tests.device.staging import lit
from tests.device.store.rows import NOON_MS


@pytest.fixture
def stage(tmp_path):
    with bench(tmp_path) as made:
        yield made


def test_a_kept_picture_is_a_file_and_a_row(stage):
    assert stage.offer(reason="random", share=0.25) == "kept"
    ((event_id, reason, share, file, size),) = stage.rows("event_id, reason, share, file, bytes")
    assert (event_id, reason, share) == (1, "random", 0.25)
    assert stage.files() == [file] == [sample_name(NOON_MS + 1_000_000, "aaaa", 1)]
    assert (stage.paths.samples / file).stat().st_size == size
    assert np.abs(read_image(stage.paths.samples / file).astype(int) - picture(1)).mean() < 3


def test_large_pictures_are_shrunk():
    image = decode_image(encode(np.zeros((720, 1280, 3), np.uint8), 640, 90))
    assert image.shape == (360, 640, 3)
    assert decode_image(encode(np.zeros((48, 64, 3), np.uint8), 640, 90)).shape == (48, 64, 3)


def test_near_duplicates_are_not_kept(stage):
    assert stage.offer(picture(5)) == "kept"
    assert stage.offer(lit(picture(5), 0.9, noise=2.0)) == "duplicate"
    assert stage.offer(picture(6)) == "kept"
    stage.ring = stage.new_ring()
    assert stage.offer(picture(5)) == "duplicate", "it knows them after a restart, too"
    assert stage.ring.counts == {"duplicate": 1}


class TestDrawnTwice:
    """A drawn picture that is not kept, because one like it is, is not lost to the accuracy."""

    def test_the_kept_one_stands_for_it(self, stage):
        assert stage.offer(picture(5), reason="random", share=0.1) == "kept"
        assert stage.offer(lit(picture(5), 0.9, noise=2.0), reason="random", share=0.1) == "duplicate"
        assert stage.offer(picture(5), reason="random", share=0.5) == "duplicate"
        assert stage.rows("share, stands_for") == [(0.1, 12.0)]
        stage.ring = stage.new_ring()
        stage.offer(picture(5), reason="random", share=0.1)
        assert stage.rows("stands_for") == [(22.0,)]

    @pytest.mark.parametrize("other", [{"label": "paper"}, {"uid": "bbbb", "model": "lite2 2 (fp16)"}])
    def test_another_guess_or_model_is_an_answer_of_its_own(self, stage, other):
        stage.offer(picture(5), reason="random", share=0.1)
        assert stage.offer(picture(5), reason="random", share=0.1, **other) == "kept"
        assert stage.offer(picture(5), reason="random", share=0.1, **other) == "duplicate"
        assert stage.rows("stands_for") == [(0.0,), (10.0,)]

    def test_one_that_was_kept_for_doubt_does_not_stand_for_it(self, stage):
        stage.offer(picture(5))
        assert stage.offer(picture(5), reason="random", share=0.1) == "kept"
        assert stage.offer(picture(5)) == "duplicate"
        assert stage.rows("reason, stands_for") == [("uncertain", 0.0), ("random", 0.0)]

    def test_beyond_the_quota_it_still_counts(self, tmp_path):
        with bench(tmp_path, per_minute=1) as stage:
            stage.offer(picture(5), reason="random", share=0.5)
            assert stage.offer(picture(6), reason="random", share=0.5) == "over_quota"
            assert stage.offer(picture(5), reason="random", share=0.5) == "duplicate"
            assert stage.rows("stands_for") == [(2.0,)]


def test_quotas_are_each_kinds_own(tmp_path):
    with bench(tmp_path, per_minute=2, per_hour=3, per_day=4) as stage:
        assert [stage.offer() for _ in range(3)] == ["kept", "kept", "over_quota"]
        assert stage.offer(reason="random") == "kept"
        stage.now_s += 61
        assert [stage.offer() for _ in range(2)] == ["kept", "over_quota"]
        stage.ring = stage.new_ring()
        assert stage.offer() == "over_quota", "a restart does not begin a new hour"
        stage.now_s += 3600
        assert [stage.offer() for _ in range(2)] == ["kept", "over_quota"]


def test_never_below_a_minimum_of_free_disk(tmp_path, caplog):
    with bench(tmp_path, min_free_mb=100) as stage:
        stage.free = 99_000_000
        assert [stage.offer() for _ in range(3)] == ["disk_full"] * 3
        assert stage.files() == []
        assert caplog.text.count("99 MB of disk are free") == 1
        assert "99 MB of disk are free" in stage.ring.trouble
        assert stage.ring.failures == (3, 0)
        stage.free = 101_000_000
        assert stage.offer() == "kept"
        assert stage.ring.trouble == ""


@pytest.fixture
def tight(stage, monkeypatch):
    """Room for four pictures."""
    sizes = max(len(encode(picture(seed), 1280, 92)) for seed in range(1, 30))
    stage.settings = stage.settings.model_copy(update={"max_mb": 4.05 * sizes / 1e6})
    stage.ring = stage.new_ring()
    return stage


class TestMakingRoom:
    def kept(self, stage):
        rows = stage.rows("(SELECT seq FROM events WHERE events.id = event_id)", "removed_ms IS NULL")
        return [seq for (seq,) in rows]

    def test_the_oldest_go_first(self, tight):
        for _ in range(12):
            assert tight.offer() == "kept"
        assert self.kept(tight) == sorted(self.kept(tight))
        assert self.kept(tight)[-1] == 12
        assert 3 <= len(self.kept(tight)) <= 4 + 1
        assert used_bytes(tight.store.connection) <= tight.settings.max_mb * 1e6
        assert len(tight.files()) == len(self.kept(tight)), "their files went, too"

    def test_the_kind_that_takes_more_space_makes_room(self, tight):
        tight.offer(reason="random")
        for _ in range(10):
            tight.offer()
        assert 1 in self.kept(tight), "uncertain ones do not drive out the drawn one"

    def test_skipped_ones_before_others_and_labelled_ones_never(self, tight, caplog):
        for _ in range(4):
            tight.offer()
        book = SampleBook(tight.paths)
        book.give(1, "class", "metal")
        book.give(3, "skip")
        tight.offer()
        assert 3 not in self.kept(tight)
        for number in (row for (row,) in tight.rows("id", "removed_ms IS NULL")):
            book.give(number, "none")
        while (outcome := tight.offer()) == "kept":
            book.give(tight.rows("id")[-1][0], "class", "glass")
        assert outcome == "ring_full"
        assert tight.offer() == "ring_full"
        assert caplog.text.count("full of labelled ones") == 1
        assert {1, 2, 4, 5} <= set(self.kept(tight))

    def test_labelled_and_exported_ones_go_but_their_label_still_counts(self, tight):
        tight.offer()
        book = SampleBook(tight.paths)
        book.give(1, "class", "metal")
        book.mark_exported(book.labelled())
        while 1 in self.kept(tight):
            tight.offer()
            for (number,) in tight.rows("id", "id > 1 AND removed_ms IS NULL"):
                book.give(number, "class", "glass")
        sample = book.sample(1)
        assert sample.removed
        assert sample.given.label == "metal"
        assert not book.path(sample).exists()

    def test_a_picture_that_can_never_fit_drives_out_nothing(self, stage):
        stage.offer()
        stage.settings = stage.settings.model_copy(update={"max_mb": 0.001})
        stage.ring = stage.new_ring()
        assert stage.offer() == "ring_full"
        assert len(stage.files()) == 1


class TestStarting:
    def test_files_without_a_row_and_rows_without_a_file_are_cleaned(self, stage):
        for _ in range(3):
            stage.offer()
        book = SampleBook(stage.paths)
        book.give(3, "class", "metal")
        first, second, third = (stage.paths.samples / name for name in stage.files())
        second.unlink()
        third.unlink()
        (stage.paths.samples / "20260101T000000-abc0-9.jpg").write_bytes(b"x")
        (stage.paths.samples / ".20260101T000000-abc0-9.jpg.tmp123").write_bytes(b"x")
        (stage.paths.samples / "holiday.jpg").write_bytes(b"somebody's own")
        stage.ring = stage.new_ring()
        stage.ring.begin(stage.store)
        assert stage.files() == [first.name, "holiday.jpg"]
        assert stage.rows("id, removed_ms IS NOT NULL") == [(1, 0), (3, 1)]
        assert stage.offer(picture(2)) == "kept", "what has gone is no duplicate any more"

    def test_a_new_store_in_the_place_of_a_damaged_one(self, stage):
        stage.offer(picture(1))
        stage.store.close()
        stage.paths.put_aside()
        stage.store = EventStore.open(stage.paths)
        assert stage.offer(picture(1)) == "kept"
        assert len(stage.files()) == 1


class TestTrouble:
    def test_an_event_that_was_dropped_has_no_picture(self, stage):
        assert stage.ring.keep(stage.store, Picked(99, 0, "uncertain", 1.0, picture(1)), "aaaa") == "no_event"

    def test_a_disk_that_refuses_is_said_once_and_goes_on(self, stage, caplog):
        stage.offer()
        stage.store.connection.execute("PRAGMA query_only = ON")

        def offer(seq):
            return stage.ring.keep(stage.store, Picked(1, seq, "uncertain", 1.0, picture(90 + seq)), "aaaa")

        assert [offer(seq) for seq in range(3)] == ["failed"] * 3
        assert caplog.text.count("pictures cannot be kept") == 1
        assert "readonly" in stage.ring.trouble
        assert stage.ring.failures == (0, 3)
        assert len(stage.files()) == 1, "no file is left without its row"
        stage.store.connection.execute("PRAGMA query_only = OFF")
        assert stage.offer() == "kept"

    def test_a_damaged_store_is_the_writers_to_mend(self, stage, monkeypatch):
        stage.offer()

        def damaged(uid, seq):
            raise sqlite3.DatabaseError("malformed")

        monkeypatch.setattr(stage.store, "event_id", damaged, raising=True)
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            stage.ring.keep(stage.store, Picked(1, 0, "uncertain", 1.0, picture(9)), "aaaa")
