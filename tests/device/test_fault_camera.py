"""The test camera: its plan, its faults one by one, and a whole drill against the daemon's own capture."""

from __future__ import annotations

import json
import threading
from collections import Counter
from itertools import cycle, islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.assembly import resolve_mode
from device.capture import Capture, ReconnectSettings
from device.clock import ManualClock
from device.config import SourceSettings, load_config
from device.fault_camera import FaultDrill
from device.fault_plan import FAULT_KINDS, FaultPlan, FaultSchedule, parse_fault_plan
from device.frame import BadFrameError
from device.opening import CameraOpener
from device.scene import SceneCamera
from device.sources import DrillSource, PhotoSource, RtspSource, SceneSource, parse_source
from smartbin.errors import CameraError, ConfigError


class TestPlan:
    def test_the_query_is_read(self):
        source = parse_source("test://scene?faults=stall:5,black&every_s=20&seed=1&fps=0&log=/tmp/x.jsonl")
        assert isinstance(source, DrillSource)
        assert source.inner == SceneSource()
        assert source.live
        assert source.plan.faults == {"stall": 5.0, "black": None}
        assert (source.plan.every_s, source.plan.seed, source.plan.fps) == (20.0, 1, 0.0)
        assert str(source.plan.log) == "/tmp/x.jsonl"

    def test_all_kinds_are_the_default(self):
        assert tuple(parse_source("test://").plan.faults) == FAULT_KINDS
        assert parse_source("test://scene?faults=all") == parse_source("test://")

    def test_any_source_can_be_behind_it(self, tmp_path):
        assert parse_source(f"test://{tmp_path}?seed=3").inner == PhotoSource(tmp_path)
        assert parse_source("test://rtsp://u:p@host/x").inner == RtspSource("rtsp://u:p@host/x")
        assert "p@" not in str(parse_source("test://rtsp://u:p@host/x"))

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("faults=explode", "explode"),
            ("faults=", "faults"),
            ("faults=stall:soon", "stall"),
            ("faults=stall:0", "above 0"),
            ("faults=stall:-1", "above 0"),
            ("faults=stall,stall", "twice"),
            ("seed=1&seed=2", "twice"),
            ("every_s=0", "every_s"),
            ("every_s=1&every_frames=1", "not both"),
            ("speed=0", "speed"),
            ("tempo=1", "tempo"),
            ("fps=-1", "fps"),
            ("log=/nowhere/at/all.jsonl", "no folder"),
        ],
    )
    def test_what_does_not_fit_is_named(self, query, found):
        with pytest.raises(ConfigError) as caught:
            parse_source(f"test://scene?{query}")
        assert found in str(caught.value)
        assert "wrong_channels" in str(caught.value), "the known kinds are listed"

    def test_a_test_camera_in_a_test_camera_is_none(self):
        with pytest.raises(ConfigError):
            parse_source("test://test://scene")

    def test_photos_behind_it_are_judged_one_by_one(self, tmp_path):
        assert resolve_mode(load_config(None, {}), parse_source(f"test://{tmp_path}")) == "every_frame"
        assert resolve_mode(load_config(None, {}), parse_source("test://scene")) == "item"


class TestSchedule:
    def faults(self, query, *, seconds=2000):
        schedule, found, free_s = FaultSchedule(parse_fault_plan(query, "test://")), [], 0.0
        for now_s in range(seconds):
            if now_s >= free_s and (due := schedule.next_fault(now_s, 10 * now_s)) is not None:
                found.append((now_s, *due))
                free_s = now_s + due[1]
                schedule.rest(free_s, int(10 * free_s))
        return found

    def test_the_same_seed_gives_the_same_faults(self):
        assert self.faults("seed=5") == self.faults("seed=5")
        assert self.faults("seed=5") != self.faults("seed=6")

    def test_every_kind_comes_equally_often(self):
        counts = Counter(kind for _, kind, _ in self.faults("every_s=5"))
        assert set(counts) == set(FAULT_KINDS)
        assert max(counts.values()) - min(counts.values()) <= 1

    @pytest.mark.parametrize("query", ["every_s=10&hold_s=2", "every_frames=100&hold_s=2"])
    def test_they_come_as_often_as_asked(self, query):
        assert len(self.faults(query)) == pytest.approx(2000 / 12, rel=0.1)

    def test_a_fault_may_have_its_own_length(self):
        lengths = {kind: [] for kind in ("stall", "black")}
        for _, kind, seconds in self.faults("faults=stall:8,black&hold_s=1&every_s=5"):
            lengths[kind].append(seconds)
        assert 6 <= min(lengths["stall"]) <= max(lengths["stall"]) <= 10
        assert 0.75 <= min(lengths["black"]) <= max(lengths["black"]) <= 1.25


def make_drill(story, query, clock=None, stop=None):
    source = parse_source(f"test://scene:{story}?{query}")
    opener = CameraOpener(source, SourceSettings(), (), clock or ManualClock(), stop or threading.Event())
    assert opener.drill is not None
    return opener.drill


def read_until(drill, camera, what, limit=3000):
    """Frames up to the one at which `what` is true of the drill."""
    frames = []
    for _ in range(limit):
        frames.append(camera.read())
        if what(drill):
            return frames
    raise AssertionError("it did not happen")


def begun(drill):
    return drill.current is not None


class TestFaults:
    def test_without_a_fault_it_is_a_live_camera_of_the_scene(self, story):
        clock = ManualClock()
        drill = make_drill(story, "every_s=1000", clock)
        camera = drill.open()
        frames = [camera.read() for _ in range(100)]  # longer than the story: it starts over
        assert camera.live
        assert [frame.seq for frame in frames] == list(range(1, 101))
        assert frames[-1].captured_s - frames[0].captured_s == pytest.approx(9.9, abs=0.2), "in the story's own time"
        assert {frame.truth for frame in frames} == {None, "red", "green"}
        assert all((late.image != early.image).any() for early, late in pairwise(frames)), "a sensor has noise"
        assert max(np.abs(late.image.astype(int) - early.image).max() for early, late in pairwise(frames[:4])) <= 4

    @pytest.mark.parametrize("speed", [1, 4])
    def test_at_another_rate_the_recording_keeps_its_time(self, story, speed):
        """The story has 10 pictures a second, the camera 50: each comes five times, or once and a bit."""
        clock = ManualClock()
        camera = make_drill(story, f"every_s=1000&fps=50&speed={speed}", clock).open()
        frames = [camera.read() for _ in range(101)]
        assert clock.now_s() - frames[0].captured_s == pytest.approx(2.0, abs=0.1)
        changes = sum(late.origin != early.origin for early, late in pairwise(frames))
        in_its_own_time = islice(cycle(list(iter(SceneCamera(story).read, None))), 20 * speed)
        expected = sum(late.origin != early.origin for early, late in pairwise(in_its_own_time))
        assert changes == pytest.approx(expected, abs=3)
        assert all((late.image != early.image).any() for early, late in pairwise(frames))

    def test_what_it_looks_at_waits_while_it_gives_nothing(self, story):
        clock = ManualClock()
        camera = make_drill(story, "every_s=1000&fps=10", clock).open()
        before = [camera.read() for _ in range(20)][-1]
        clock.advance(100.0)
        numbers = [told.file for told in SceneCamera(story).story.frames]
        after = camera.read()
        step = numbers.index(Path(after.origin).name) - numbers.index(Path(before.origin).name)
        assert 1 <= step <= 6, "half a second of it"

    def test_at_full_speed_it_does_not_wait(self, story):
        clock = ManualClock()
        camera = make_drill(story, "faults=black&every_frames=20&hold_s=0.001&fps=0&speed=9", clock).open()
        for _ in range(200):
            camera.read()
            clock.advance(0.001)
        assert not clock.waits_s

    def test_it_remembers_the_newest_faults_however_long_it_runs(self, story):
        clock = ManualClock()
        drill = make_drill(story, "faults=black&every_frames=1&hold_s=0.001&fps=0", clock)
        camera = drill.open()
        while not drill.faults or drill.faults[-1].number < 300:
            camera.read()
            clock.advance(0.001)
        assert [fault.number for fault in drill.faults] == list(range(101, 301))

    def test_black(self, story):
        drill = make_drill(story, "faults=black&every_frames=5")
        frames = read_until(drill, drill.open(), begun)
        assert frames[-1].image.max() == 0
        assert frames[-2].image.max() > 0

    def test_freeze(self, story):
        drill = make_drill(story, "faults=freeze&every_frames=5&hold_s=1")
        camera = drill.open()
        before = read_until(drill, camera, begun)
        frozen = [before[-1], *read_until(drill, camera, lambda drill: drill.current is None)]
        assert all((frame.image == before[-2].image).all() for frame in frozen[:-1])
        assert frozen[-2].captured_s > frozen[0].captured_s, "the camera itself says that all is new"
        assert (frozen[-1].image != frozen[0].image).any()

    def test_stall(self, story):
        clock = ManualClock()
        drill = make_drill(story, "faults=stall:3&every_frames=5", clock)
        frames = read_until(drill, drill.open(), lambda drill: drill.faults)
        assert frames[-1].captured_s - frames[-2].captured_s == pytest.approx(drill.faults[0].planned_s, abs=0.2)
        assert drill.current is None

    def test_a_stall_ends_with_the_daemon(self, story):
        stop = threading.Event()
        drill = make_drill(story, "faults=stall&every_frames=1", stop=stop)
        camera = drill.open()
        camera.read()
        stop.set()
        assert camera.read() is None

    def test_slow(self, story):
        clock = ManualClock()
        drill = make_drill(story, "faults=slow&every_frames=5&hold_s=5", clock)
        camera = drill.open()
        read_until(drill, camera, begun)
        ages = []
        while drill.current is not None:
            captured_s = camera.read().captured_s
            ages.append(clock.now_s() - captured_s)
        assert max(ages) > 0.5, "older than the daemon takes"

    def test_unplugged_until_it_is_over(self, story):
        clock = ManualClock()
        drill = make_drill(story, "faults=unplug&every_frames=5&hold_s=4", clock)
        camera = drill.open()
        with pytest.raises(CameraError, match="unplugged"):
            read_until(drill, camera, begun)
        camera.close()
        with pytest.raises(CameraError, match="unplugged"):
            drill.open()
        clock.advance(5)
        last = drill.open().read()
        assert last.seq == drill.faults[0].frame
        assert drill.faults[0].ended_s == pytest.approx(drill.faults[0].begun_s + 5, abs=0.01)

    @pytest.mark.parametrize(
        ("kind", "reasons", "fit"),
        [("corrupt", {"empty", "torn"}, 0.5), ("wrong_size", {"size"}, 0), ("wrong_channels", {"channels"}, 0)],
    )
    def test_unfit_frames_are_what_the_watch_refuses(self, story, kind, reasons, fit):
        clock = ManualClock()
        source = parse_source(f"test://scene:{story}?faults={kind}&every_frames=5&hold_s=20")
        opener = CameraOpener(source, SourceSettings(), (), clock, threading.Event())
        camera, found, good, bad = opener(), set(), 0, 0
        while opener.drill.current is not None or not found:
            try:
                camera.read()
                good += opener.drill.current is not None
            except BadFrameError as error:
                found.add(error.reason)
                bad += 1
        assert found == reasons
        assert good / (good + bad) == pytest.approx(fit, abs=0.1)

    @pytest.mark.parametrize(("kind", "cured"), [("freeze", True), ("wrong_size", True), ("black", False)])
    def test_opening_cures_what_it_would_cure_in_a_real_camera(self, story, kind, cured):
        drill = make_drill(story, f"faults={kind}&every_frames=5&hold_s=100")
        read_until(drill, drill.open(), begun)
        drill.open()
        assert (drill.current is None) is cured

    def test_the_log_has_a_line_when_a_fault_begins_and_when_it_ends(self, story, tmp_path):
        log = tmp_path / "faults.jsonl"
        drill = make_drill(story, f"faults=black&every_frames=5&hold_s=0.5&log={log}")
        camera = drill.open()
        for _ in range(60):
            camera.read()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["what"] for line in lines[:4]] == ["begins", "ends", "begins", "ends"]
        assert len(lines) == sum(1 if fault.ended_s is None else 2 for fault in drill.faults)
        assert lines[1]["ended_s"] - lines[1]["begun_s"] == pytest.approx(0.5, abs=0.3)
        assert lines[0] | {"what": "", "time": "", "ended_s": 0} == lines[1] | {"what": "", "time": "", "ended_s": 0}

    def test_the_same_seed_is_the_same_drill(self, story):
        def run():
            clock = ManualClock()
            drill = make_drill(story, "every_frames=10&hold_s=0.5&seed=4", clock)
            opener, seen = drill.open, []
            camera = opener()
            for _ in range(300):
                try:
                    seen.append(int(camera.read().image.sum()))
                except (CameraError, BadFrameError) as error:
                    clock.advance(0.1)
                    seen.append(str(error))
            return drill.faults, seen

        assert run() == run()


def test_a_whole_drill_against_the_capture_thread(story):
    """Every kind of fault several times, through watch, refusals and reconnects: all of it is counted, none ends it."""
    clock, stop = ManualClock(), threading.Event()
    source = parse_source(f"test://scene:{story}?every_frames=20&hold_s=4&seed=2&fps=30")
    opener = CameraOpener(source, SourceSettings(), (), clock, stop)
    ended = threading.Event()

    def open_until_enough():
        if len(opener.drill.faults) >= 40:
            ended.set()
            stop.set()
        return opener()

    capture = Capture(
        open_until_enough,
        live=True,
        max_age_s=0.5,
        reconnect=ReconnectSettings(),
        clock=clock,
        stop=stop,
    )
    capture.start()
    assert ended.wait(60), f"{len(opener.drill.faults)} faults"
    capture._thread.join(10)
    counts, kinds = capture.counts, Counter(fault.kind for fault in opener.drill.faults)
    assert min(kinds[kind] for kind in FAULT_KINDS) >= 4
    assert dict(counts.refused).keys() == {"empty", "torn", "size", "channels"}
    assert dict(counts.refused)["size"] == 10 * kinds["wrong_size"], "ten in a row, then it is opened again"
    assert dict(counts.refused)["channels"] == 10 * kinds["wrong_channels"]
    assert counts.repeated >= 60 * kinds["freeze"]
    assert counts.reconnects >= kinds["freeze"] + kinds["unplug"] + kinds["wrong_size"] + kinds["wrong_channels"]


def test_a_drill_hands_on_the_loss_of_the_source_behind_it(story):
    drill = make_drill(story, "every_s=1000")
    camera = drill.open()
    camera.read()
    (story / "frame003.jpg").unlink()
    with pytest.raises(CameraError, match="incomplete"):
        read_until(drill, camera, begun)
    assert drill.open().read() is not None, "the source is opened anew"


def test_a_folder_of_photos_and_a_video_behind_it(colour_folder, tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for level in (50, 100, 150):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    for behind, period_s, length in ((colour_folder, 1.0, 9), (path, 0.05, 3)):
        clock = ManualClock()
        opener = CameraOpener(
            parse_source(f"test://{behind}?every_s=1000"), SourceSettings(), ("red",), clock, threading.Event()
        )
        camera = opener()
        frames = [camera.read() for _ in range(2 * length)]
        origins = [frame.origin for frame in frames]
        assert origins[:length] == origins[length:], "it starts over"
        assert len(set(origins)) == length
        assert frames[2].captured_s - frames[1].captured_s == pytest.approx(period_s, rel=0.01)
        assert clock.now_s() == frames[-1].captured_s


def test_a_plan_can_be_built_in_code(story):
    plan = FaultPlan(faults={"black": 1.0}, every_frames=3)
    opener = CameraOpener(
        SceneSource(story), SourceSettings(loop=True, pace="fast"), (), ManualClock(), threading.Event()
    )
    drill = FaultDrill(plan, opener, "mine", ManualClock(), threading.Event())
    read_until(drill, drill.open(), begun)
    assert [fault.kind for fault in drill.faults] == ["black"]
