from __future__ import annotations

import errno
import io
import json
import os
import threading
from datetime import datetime, timezone

import pytest
from rich.console import Console

from device.clock import SystemClock
from device.decision import Decision
from device.events import Event, FrameView, Session
from device.live_view import LiveSink, decision_line, picture
from device.presence import PresenceReading
from device.sinks import SinkGroup, event_json
from device.sinks.json_lines import JsonLines
from device.sinks.line_sink import LineReceiver, LineSink, open_lines
from device.sinks.plain import PlainLines
from smartbin.brightness import Exposure
from smartbin.errors import ConfigError
from smartbin.prediction import make_prediction
from tests.device.broker import wait_until
from tests.device.staging import Bin

CLASSES = ("glass", "metal", "paper")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)
SESSION = Session("camera:0", "lite0 1 (int8)", "onnxruntime-cpu", CLASSES, 0.6)
GUESS = make_prediction((0.9, 0.06, 0.04), -4.2, CLASSES)
EXPOSURE = Exposure(0.123456, 0.01, 0.45)


def decision(kind="accepted", **changes) -> Decision:
    fields = {
        "kind": kind,
        "label": "glass",
        "confidence": 0.9,
        "bin": "recycling",
        "item": 7,
        "frames": 4,
        "arrived_s": 10.0,
        "decided_s": 10.5,
        "exposure": EXPOSURE,
        "prediction": GUESS,
    }
    if kind in ("too_dark", "too_bright"):
        fields |= {"label": None, "confidence": 0.0, "frames": 0, "prediction": None, "bin": "general"}
    return Decision(**{**fields, **changes})


def happened(**changes) -> Event:
    return Event(NOW, "decision", decision=decision(**changes), id="ab12")


def view(state="JUDGING", *, light="ok", prediction=GUESS, learning=False) -> FrameView:
    reading = PresenceReading(True, True, learning=learning)
    stages = (("brightness", 1.0), ("classify", 6.0))
    return FrameView(Bin().empty(), 3, "camera:0", state, 1, light, EXPOSURE, reading, prediction, 29.9, stages)


def line_sink(lines, stream, *, path=None, waits=False) -> LineSink:
    """To a stream of the test; it is started."""
    sink = LineSink("lines", LineReceiver(stream, lines, path, owned=False), SystemClock(), waits=waits)
    sink.start(SESSION)
    return sink


class TestJson:
    def test_a_decision_is_one_line_with_everything(self):
        stream = io.StringIO()
        sink = line_sink(JsonLines(), stream)
        sink.event(happened(truth="metal"))
        sink.close()
        (line,) = stream.getvalue().splitlines()
        assert json.loads(line) == {
            "event": "decision",
            "id": "ab12",
            "time": "2026-01-02T03:04:05.678+00:00",
            "decision": "accepted",
            "item": 7,
            "label": "glass",
            "confidence": 0.9,
            "bin": "recycling",
            "frames": 4,
            "took_s": 0.5,
            "probabilities": {"glass": 0.9, "metal": 0.06, "paper": 0.04},
            "energy": -4.2,
            "exposure": {"mean_luma": 0.1235, "clipped_fraction": 0.01, "gamma": 0.45},
            "truth": "metal",
        }

    def test_no_guess_has_no_label(self):
        record = json.loads(event_json(happened(kind="too_dark"), CLASSES))
        assert record["label"] is None
        assert record["probabilities"] == {}

    def test_lifecycle(self):
        event = Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged", id="ab12")
        record = json.loads(event_json(event, CLASSES))
        assert record == {
            "event": "lifecycle",
            "id": "ab12",
            "time": "2026-01-02T03:04:05.678+00:00",
            "state": "CAMERA_LOST",
            "reason": "unplugged",
        }

    def test_a_file_is_appended_to(self, tmp_path):
        path = tmp_path / "events.jsonl"
        for _ in range(2):
            sink = open_lines("json", JsonLines(), SystemClock(), target=str(path))
            sink.start(SESSION)
            sink.event(happened())
            sink.close()
            sink.close()
        assert len(path.read_text().splitlines()) == 2

    def test_a_file_that_cannot_be_opened(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot write the events"):
            open_lines("json", JsonLines(), SystemClock(), target=str(tmp_path / "none" / "events.jsonl"))


class TestPlain:
    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({}, "glass 90%"),
            ({"kind": "uncertain"}, "unsure, perhaps glass 90%"),
            ({"kind": "uncertain", "label": None, "frames": 0}, "unsure "),
            ({"kind": "too_dark"}, "too dark"),
            ({"kind": "too_bright"}, "too bright"),
            ({"truth": "metal"}, "(it is metal)"),
        ],
    )
    def test_one_line_a_decision(self, changes, text):
        stream = io.StringIO()
        sink = line_sink(PlainLines(), stream)
        sink.frame(view())
        sink.event(happened(**changes))
        sink.close()
        _, line = stream.getvalue().splitlines()
        assert text in line

    def test_a_lost_camera_is_a_line(self):
        stream = io.StringIO()
        sink = line_sink(PlainLines(), stream)
        sink.event(Event(NOW, "lifecycle", lifecycle="RUNNING"))
        sink.event(Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged"))
        sink.close()
        first, line = stream.getvalue().splitlines()
        assert first == "smartbin: camera:0, model lite0 1 (int8) on onnxruntime-cpu"
        assert line == "03:04:05  CAMERA_LOST: unplugged"


class Disk(io.StringIO):
    """A stream whose flush does as it is told, as that of a file does; what was written is there after a good one."""

    def __init__(self, *script):
        super().__init__()
        self.script, self.flushed = list(script), ""

    def flush(self):
        step = self.script.pop(0) if self.script else None
        if isinstance(step, threading.Event):
            assert step.wait(20)
        elif step is not None:
            raise step
        self.flushed = self.getvalue()


class TestLines:
    def test_a_reader_who_does_not_read_holds_nobody_up(self):
        """What he has not read beyond the queue is dropped, the oldest first, and counted."""
        gate = threading.Event()
        stream = Disk(gate)
        sink = line_sink(JsonLines(), stream)
        for number in range(1200):
            sink.event(happened(item=number))
            if number == 0:
                wait_until(lambda: '"item": 0' in stream.getvalue(), "the first write, which hangs")
        assert sink.counts.waiting == 1000
        gate.set()
        sink.close()
        items = [json.loads(line)["item"] for line in stream.flushed.splitlines()]
        assert items == [0, *range(200, 1200)]
        assert sink.counts.dropped == 199

    def test_a_recording_waits_for_its_reader(self):
        gate = threading.Event()
        stream = Disk(gate)
        sink = line_sink(JsonLines(), stream, waits=True)
        told = threading.Thread(target=lambda: [sink.event(happened(item=number)) for number in range(1500)])
        told.start()
        wait_until(lambda: sink.counts.waiting == 1000, "a full queue")
        assert told.is_alive()
        gate.set()
        told.join(20)
        sink.close()
        assert [json.loads(line)["item"] for line in stream.flushed.splitlines()] == list(range(1500))
        assert sink.counts.dropped == 0

    def test_a_full_disk_gets_its_lines_later_and_each_once(self, tmp_path, caplog):
        path = tmp_path / "events.jsonl"
        path.touch()
        full = OSError(errno.ENOSPC, "No space left on device")

        class OnDisk(Disk):
            def fileno(self):
                return os.open(path, os.O_RDONLY)

        stream = OnDisk(full, full)
        sink = line_sink(JsonLines(), stream, path=path)
        for number in range(3):
            sink.event(happened(item=number))
        wait_until(lambda: sink.counts.sent == 3, "all three")
        sink.close()
        assert [json.loads(line)["item"] for line in stream.flushed.splitlines()] == [0, 1, 2]
        assert caplog.text.count("No space left") == 1
        assert "lines works again, after 2 failures" in caplog.text

    @pytest.mark.parametrize("away", [lambda path: path.rename(path.with_suffix(".1")), lambda path: path.unlink()])
    def test_a_file_that_was_rotated_away_is_begun_anew(self, tmp_path, away):
        path = tmp_path / "events.jsonl"
        sink = open_lines("json", JsonLines(), SystemClock(), target=str(path))
        sink.start(SESSION)
        sink.event(happened(item=1))
        wait_until(lambda: sink.counts.sent == 1, "the first line")
        away(path)
        sink.event(happened(item=2))
        sink.close()
        assert [json.loads(line)["item"] for line in path.read_text().splitlines()] == [2]

    def test_without_a_reader_of_stdout_the_run_ends_and_nothing_is_said(self, caplog):
        gone = []
        sink = line_sink(PlainLines(), Disk(BrokenPipeError(), BrokenPipeError()))
        group = SinkGroup([sink], reader_gone=lambda: gone.append(1))
        wait_until(lambda: sink._out.reader_gone, "the reader to be missed")
        group.frame(view())
        group.close()
        assert gone == [1]
        assert not caplog.records

    def test_a_pipe_that_is_a_file_may_lose_its_reader(self, tmp_path):
        """The bin goes on, and tries again."""
        path = tmp_path / "pipe"
        sink = line_sink(JsonLines(), Disk(BrokenPipeError()), path=path)
        sink._out._open_again_if_moved = lambda: None
        sink.event(happened())
        wait_until(lambda: sink.counts.sent == 1, "the second try")
        sink.frame(view())
        sink.close()
        assert sink.counts.failures == 1


class TestGroup:
    class Broken:
        def __init__(self, error):
            self.error, self.calls = error, 0

        def start(self, session):
            self.fail()

        def event(self, event):
            self.fail()

        def frame(self, view):
            self.fail()

        def close(self):
            self.fail()

        def fail(self):
            self.calls += 1
            raise self.error

    def test_each_fails_alone_and_is_said_once(self, caplog):
        stream = io.StringIO()
        broken = self.Broken(OSError("disk full"))
        lines = LineSink("lines", LineReceiver(stream, PlainLines(), None, owned=False), SystemClock(), waits=False)
        group = SinkGroup([broken, lines], reader_gone=lambda: pytest.fail("nobody has gone"))
        group.start(SESSION)
        group.event(happened())
        group.frame(view())
        group.close()
        assert broken.calls == 4
        assert group.failures == 4
        assert caplog.text.count("disk full") == 1
        assert "glass" in stream.getvalue()

    def test_a_closed_pipe_is_the_end(self):
        gone = []
        group = SinkGroup([self.Broken(BrokenPipeError())], reader_gone=lambda: gone.append(1))
        group.event(happened())
        assert gone


class TestLive:
    def make(self, width=100, *, every_s=1.0):
        times = iter(range(1000))
        console = Console(file=io.StringIO(), force_terminal=True, width=width, height=30, color_system="truecolor")
        return LiveSink(console, now_s=lambda: next(times) * every_s), console

    def shown(self, console):
        from rich.text import Text

        return Text.from_ansi(console.file.getvalue()).plain

    @pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
    @pytest.mark.parametrize("state", ["EMPTY", "ARRIVING", "JUDGING", "DECIDED", "CLEARING", "WATCHING"])
    def test_draws_every_state_at_every_width(self, state, width):
        sink, console = self.make(width)
        sink.start(SESSION)
        sink.event(happened())
        sink.frame(view(state))
        sink.close()
        assert "glass" in self.shown(console)

    def test_shows_what_is_known(self):
        sink, console = self.make()
        sink.start(SESSION)
        sink.frame(view())
        text = self.shown(console)
        for expected in (
            "camera:0",
            "lite0 1 (int8)",
            "judging",
            "glass",
            "90%",
            "luma 0.12",
            "gamma 0.45",
            "29.9 fps",
        ):
            assert expected in text, expected
        sink.close()

    def test_the_answer_stands_out(self):
        sink, console = self.make()
        sink.start(SESSION)
        sink.event(happened(truth="glass"))
        sink.frame(view("DECIDED", prediction=None))
        assert " GLASS " in self.shown(console)
        assert "✓ right" in self.shown(console)
        sink.close()

    def test_darkness_and_learning_are_said(self):
        sink, console = self.make()
        sink.start(SESSION)
        sink.frame(view("EMPTY", light="too_dark", prediction=None))
        sink.frame(view("EMPTY", prediction=None, learning=True))
        assert "too dark: no guess" in self.shown(console)
        assert "learning the empty bin" in self.shown(console)
        sink.close()

    def test_is_drawn_ten_times_a_second_at_most(self):
        sink, console = self.make(every_s=0.01)
        sink.start(SESSION)
        drawn = 0
        for _ in range(50):
            before = console.file.tell()
            sink.frame(view())
            drawn += console.file.tell() > before
        sink.close()
        assert drawn <= 11

    @pytest.mark.parametrize("kind", ["accepted", "uncertain", "too_dark", "too_bright"])
    @pytest.mark.parametrize("truth", [None, "glass", "metal"])
    def test_every_kind_of_decision_is_a_line(self, kind, truth):
        assert "item 7" in decision_line(happened(kind=kind, truth=truth)).plain

    @pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (30, 40), (10, 900), (900, 10)])
    def test_pictures_of_every_shape(self, height, width):
        console = Console(file=io.StringIO(), force_terminal=True, width=100)
        console.print(picture(Bin(height=max(height, 20), width=max(width, 20)).empty()[:height, :width]))
        assert "▀" in console.file.getvalue()
