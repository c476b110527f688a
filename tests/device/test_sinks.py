from __future__ import annotations

import io
import json
from datetime import datetime, timezone

import pytest
from rich.console import Console

from device.decision import Decision
from device.events import Event, FrameView, Session
from device.live_view import LiveSink, decision_line, picture
from device.presence import PresenceReading
from device.sinks import JsonLinesSink, PlainSink, SinkGroup, event_json
from smartbin.brightness import Exposure
from smartbin.errors import ConfigError
from smartbin.prediction import make_prediction
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


class TestJson:
    def test_a_decision_is_one_line_with_everything(self):
        stream = io.StringIO()
        sink = JsonLinesSink(stream)
        sink.start(SESSION)
        sink.event(happened(truth="metal"))
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
            sink = JsonLinesSink.open(str(path))
            sink.start(SESSION)
            sink.event(happened())
            sink.close()
            sink.close()
        assert len(path.read_text().splitlines()) == 2

    def test_a_file_that_cannot_be_opened(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot write the events"):
            JsonLinesSink.open(str(tmp_path / "none" / "events.jsonl"))


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
        sink = PlainSink(stream)
        sink.start(SESSION)
        sink.frame(view())
        sink.event(happened(**changes))
        sink.close()
        _, line = stream.getvalue().splitlines()
        assert text in line

    def test_a_lost_camera_is_a_line(self):
        stream = io.StringIO()
        sink = PlainSink(stream)
        sink.event(Event(NOW, "lifecycle", lifecycle="RUNNING"))
        sink.event(Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged"))
        assert stream.getvalue() == "03:04:05  CAMERA_LOST: unplugged\n"


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
        group = SinkGroup([broken, PlainSink(stream)], reader_gone=lambda: pytest.fail("nobody has gone"))
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
