"""Events and pictures as a user meets them: kept by `smartbin run`, shown by `smartbin events`."""

from __future__ import annotations

import errno
import json
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from device.cli import main
from device.events import Event
from device.events_command import parse_since
from device.samples.labels import SampleBook
from device.samples.settings import SampleSettings
from device.store.paths import StorePaths
from device.store.reader import EventReader
from device.store.records import EventRecord
from device.store.schema import SCHEMA_VERSION
from device.store.settings import StoreSettings
from device.store_sink import event_record, open_store
from smartbin.errors import ConfigError
from smartbin.images import read_image
from tests.device.test_sinks import NOW, SESSION, happened

NOW_MS = 1_767_323_045_678


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Where data is kept by default."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def paths(home) -> StorePaths:
    """The default store, switched on also for recordings."""
    return StorePaths(home / "smartbin" / "store")


def play(story, tiny_bundle, *arguments):
    play_it = ["run", "--source", f"scene:{story}", "--bundle", str(tiny_bundle), "--pace", "fast", "--view", "off"]
    return main([*play_it, *arguments])


def test_a_decision_becomes_a_row():
    event = happened(truth="metal")
    told = Event(
        NOW, "decision", event.decision, light="ok", age_ms=12.345, stage_ms=(("classify", 6.666),), origin="f"
    )
    assert event_record(told, 5) == EventRecord(
        seq=5,
        time_ms=NOW_MS,
        kind="decision",
        decision="accepted",
        item=7,
        label="glass",
        bin="recycling",
        confidence=0.9,
        margin=0.84,
        energy=-4.2,
        probabilities=(0.9, 0.06, 0.04),
        frames=4,
        took_ms=500.0,
        light="ok",
        mean_luma=0.12346,
        clipped_fraction=0.01,
        gamma=0.45,
        age_ms=12.3,
        stage_ms=(("classify", 6.67),),
        truth="metal",
        origin="f",
        uid=told.id,
    )


def test_no_guess_and_a_change_of_state_become_rows():
    dark = event_record(happened(kind="too_dark"), 1)
    assert (dark.decision, dark.label, dark.margin, dark.energy, dark.probabilities) == (
        "too_dark",
        None,
        None,
        None,
        (),
    )
    told = Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged")
    lost = event_record(told, 2)
    assert lost == EventRecord(2, NOW_MS, "lifecycle", state="CAMERA_LOST", reason="unplugged", uid=told.id)


def test_a_run_is_kept_and_shown(story, tiny_bundle, paths, monkeypatch, capsys):
    monkeypatch.setenv("SMARTBIN_STORE__ENABLED", "on")
    monkeypatch.setenv("SMARTBIN_SAMPLES__ACCEPTED_SHARE", "1")
    monkeypatch.setenv("SMARTBIN_SAMPLES__MIN_DIFFERENCE", "0")
    monkeypatch.setenv("SMARTBIN_SAMPLES__MIN_FREE_MB", "0")
    assert play(story, tiny_bundle) == 0
    with EventReader(paths) as reader:
        stored = reader.latest()[::-1]
    assert [one.event.state or one.event.label for one in stored] == ["STARTING", "RUNNING", "red", "green", "STOPPING"]
    red = stored[2]
    assert (red.event.light, red.event.age_ms, red.event.truth) == ("ok", None, "red")
    assert {"brightness", "classify"} <= {name for name, _ in red.event.stage_ms}
    assert sum(red.event.probabilities) == pytest.approx(1, abs=1e-4)
    assert (red.run.model_name, red.run.source) == ("tiny", f"scene:{story}")
    assert red.run.model_version

    book = SampleBook(paths)
    kept = book.waiting()
    assert [(sample.guess, sample.reason, sample.share) for sample in kept] == [
        ("green", "random", 1.0),
        ("red", "random", 1.0),
    ]
    colour = read_image(book.path(kept[1]))[90, 110]
    assert int(colour[2]) > 2 * int(colour[1]), "the item is on its picture"

    assert main(["events", "--json", "--kind", "all"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one.get("state") or one["label"] for one in told] == ["STOPPING", "green", "red", "RUNNING", "STARTING"]
    assert set(told[1]["probabilities"]) == {"red", "green", "blue"}
    assert main(["events", "--limit", "1", "--before", str(told[1]["id"])]) == 0
    assert "red" in (out := capsys.readouterr().out)
    assert "green" not in out
    assert main(["events", "--per-day", "--since", "1h"]) == 0
    assert "uncertain: 0 of 2" in capsys.readouterr().out
    assert main(["events", "--per-day", "--json"]) == 0
    assert [json.loads(line)["count"] for line in capsys.readouterr().out.splitlines()] == [1, 1]
    assert main(["events", "--since", "2099-01-01"]) == 0
    assert "no events" in capsys.readouterr().out


def test_an_event_that_was_sent_is_found_again_by_its_id(story, tiny_bundle, paths, monkeypatch, capsys):
    monkeypatch.setenv("SMARTBIN_STORE__ENABLED", "on")
    sent = paths.folder.parent / "sent.jsonl"
    sent.parent.mkdir(parents=True)
    assert play(story, tiny_bundle, "--json", str(sent)) == 0
    records = [json.loads(line) for line in sent.read_text().splitlines()]
    assert len({record["id"] for record in records}) == 5
    capsys.readouterr()
    for record in records:
        assert main(["events", "--json", "--id", record["id"]]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["uid"] == record["id"]
        assert (found.get("state"), found.get("label")) == (record.get("state"), record.get("label"))
        assert main(["events", "--json", "--id", str(found["id"])]) == 0
        assert json.loads(capsys.readouterr().out) == found
    for unknown in ("99", "0" * 32, "nonsense"):
        assert main(["events", "--id", unknown]) == 1
        assert "no such event" in capsys.readouterr().err


def test_a_recording_leaves_nothing_behind(story, tiny_bundle, home):
    assert play(story, tiny_bundle) == 0
    assert not home.exists()


def test_a_live_camera_is_kept_without_being_asked(tiny_bundle, paths, capfd):
    assert main(["run", "--source", "camera:99", "--bundle", str(tiny_bundle)]) == 4
    assert not list(paths.folder.glob("*-wal")), "it was closed"
    with EventReader(paths) as reader:
        assert [one.event.state for one in reader.latest()] == ["STOPPING", "STARTING"]


def test_a_damaged_store_does_not_keep_the_bin_from_sorting(story, tiny_bundle, paths, monkeypatch, caplog):
    monkeypatch.setenv("SMARTBIN_STORE__ENABLED", "on")
    paths.folder.mkdir(parents=True)
    paths.database.write_bytes(b"nonsense " * 1000)
    assert play(story, tiny_bundle) == 0
    assert "the event store was damaged" in caplog.text
    with EventReader(paths) as reader:
        assert len(reader.latest(kind="decision")) == 2


def test_a_newer_store_is_said_at_the_start(story, tiny_bundle, paths, monkeypatch, capsys):
    monkeypatch.setenv("SMARTBIN_STORE__ENABLED", "on")
    paths.folder.mkdir(parents=True)
    with closing(sqlite3.connect(paths.database)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert play(story, tiny_bundle) == 2
    assert "newer smartbin" in capsys.readouterr().err
    paths.lock().close()


class TestOpening:
    @pytest.mark.parametrize(
        ("enabled", "live", "kept"),
        [("auto", True, 1), ("auto", False, 0), ("on", False, 1), ("off", True, 0)],
    )
    def test_for_which_sources(self, tmp_path, enabled, live, kept):
        sinks = open_store(StoreSettings(enabled=enabled, folder=tmp_path / "s"), SampleSettings(), live=live)
        assert len(sinks) == kept
        assert (tmp_path / "s").exists() == bool(kept)
        for sink in sinks:
            sink.close()

    def test_two_daemons_do_not_share_a_store(self, tmp_path):
        settings = StoreSettings(enabled="on", folder=tmp_path)
        (first,) = open_store(settings, SampleSettings(), live=True)
        with pytest.raises(ConfigError, match="another smartbin"):
            open_store(settings, SampleSettings(), live=True)
        first.start(SESSION)
        first.close()
        first.close()
        (second,) = open_store(settings, SampleSettings(enabled="off"), live=True)
        assert second.ring is None
        second.close()

    def test_a_folder_that_cannot_be_written_is_an_error_where_events_were_asked_for(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(ConfigError, match="cannot keep events here"):
            open_store(StoreSettings(enabled="on", folder=tmp_path / "file" / "s"), SampleSettings(), live=True)

    @pytest.mark.parametrize(("enabled", "number"), [("auto", errno.EACCES), ("on", errno.EROFS), ("on", errno.ENOSPC)])
    def test_a_disk_in_trouble_does_not_keep_the_bin_from_starting(
        self, tmp_path, monkeypatch, caplog, enabled, number
    ):
        def refuse(paths):
            raise OSError(number, "the disk says no")

        monkeypatch.setattr(StorePaths, "lock", refuse)
        (sink,) = open_store(StoreSettings(enabled=enabled, folder=tmp_path), SampleSettings(), live=True)
        assert "the disk says no" in caplog.text
        sink.start(SESSION)
        sink.event(happened())
        sink.close()
        with EventReader(StorePaths(tmp_path)) as reader:
            assert len(reader.latest()) == 1, "it tried again"

    def test_pictures_need_events(self):
        with pytest.raises(ConfigError, match="without events"):
            open_store(StoreSettings(enabled="off"), SampleSettings(enabled="on"), live=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", datetime(2026, 5, 1, 11, 30, tzinfo=timezone.utc)),
        ("2h", datetime(2026, 5, 1, 10, tzinfo=timezone.utc)),
        ("7d", datetime(2026, 4, 24, 12, tzinfo=timezone.utc)),
        ("2026-05-01T09:30+00:00", datetime(2026, 5, 1, 9, 30, tzinfo=timezone.utc)),
    ],
)
def test_since(text, expected):
    now = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
    assert parse_since(text, now) == round(expected.timestamp() * 1000)


@pytest.mark.parametrize("text", ["yesterday", "5x", "", "99999999999w"])
def test_since_nonsense(text):
    with pytest.raises(ConfigError, match="not a time"):
        parse_since(text)
