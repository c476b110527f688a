"""The main loop with scripted cameras and a function for a model: no real time passes."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from device.camera import ScriptedCamera
from device.capture import Capture, ReconnectSettings
from device.clock import ManualClock, SystemClock
from device.daemon import Daemon
from device.decision import DecisionSettings, make_verdicts
from device.events import Session
from device.frame_judges import make_judge
from device.pipeline import Pipeline
from device.presence import PresenceDetector
from device.sinks import SinkGroup
from device.watchdog import Watchdog
from smartbin.classifier import FunctionClassifier
from smartbin.errors import CameraError, InferenceError, StalledError
from smartbin.prediction import RejectThresholds
from smartbin.preprocess import PreprocessSpec
from tests.device.staging import Bin, frames_of

CLASSES = ("red", "green", "blue")


def by_colour(batch):
    return 0.2 * batch.reshape(len(batch), -1, 3).mean(axis=1)


class Recorder:
    """A sink that remembers."""

    def __init__(self):
        self.events, self.views, self.closed, self.on_event = [], [], False, None

    def start(self, session):
        self.session = session

    def event(self, event):
        self.events.append(event)
        if self.on_event:
            self.on_event(event)

    def frame(self, view):
        self.views.append(view)

    def close(self):
        self.closed = True

    @property
    def states(self):
        return [event.lifecycle for event in self.events if event.lifecycle]

    @property
    def labels(self):
        return [event.decision.label for event in self.events if event.decision]


def build(open_camera, *, live=False, mode="item", function=by_colour, clock=None, max_seconds=None):
    clock, stop, recorder = clock or ManualClock(), threading.Event(), Recorder()
    settings = DecisionSettings()
    verdicts = make_verdicts(settings, CLASSES, RejectThresholds(min_confidence=0.5, max_energy=1000.0))
    presence = PresenceDetector() if mode == "item" else None
    pipeline = Pipeline(
        FunctionClassifier(CLASSES, 32, function),
        PreprocessSpec(size=32),
        make_judge(mode, settings, verdicts),
        presence,
    )
    reconnect = ReconnectSettings(lost_after_s=1.0, give_up_s=5.0)
    capture = Capture(open_camera, live=live, max_age_s=1e9, reconnect=reconnect, clock=clock, stop=stop)
    daemon = Daemon(
        capture,
        pipeline,
        SinkGroup([recorder], reader_gone=stop.set),
        Watchdog(1e9, SystemClock()),
        Session("test", "model", "function", CLASSES, 0.5),
        clock=clock,
        stop=stop,
        live=live,
        reconnect=reconnect,
        max_seconds=max_seconds,
    )
    return daemon, recorder, stop, clock


TRAY = Bin()
VISIT = [TRAY.empty()] * 6 + [TRAY.holding("red")] * 8 + [TRAY.empty()] * 8 + [TRAY.holding("blue")] * 8


def test_a_recording_is_decided_and_summed_up():
    camera = ScriptedCamera(frames_of(VISIT))
    daemon, recorder, _, _ = build(lambda: camera)
    summary = daemon.run()
    assert recorder.labels == ["red", "blue"]
    assert recorder.states == ["STARTING", "RUNNING", "STOPPING"]
    assert recorder.closed
    assert camera.closed
    assert len(recorder.views) == summary.frames == len(VISIT)
    assert {view.sharpness == 1.0 for view in recorder.views if view.prediction is not None} == {False}, "measured"
    assert summary.items == 2
    assert dict(summary.by_label) == {"red": 1, "blue": 1}
    stages = dict(summary.stages)
    assert stages["presence"].count == len(VISIT)
    assert stages["classify"].count < len(VISIT), "an empty bin is not classified"
    assert summary.score is None


@pytest.mark.parametrize("live", [False, True])
def test_a_decision_comes_with_its_light_its_age_and_its_times(live):
    clock = ManualClock()
    frames = [replace(frame, captured_s=clock.now_s() - 5 + frame.captured_s) for frame in frames_of(VISIT[:22])]

    class OneByOne(ScriptedCamera):
        """Waits until the last frame was taken, as a live camera never does: so none is lost here."""

        def read(self):
            while live and daemon._capture._slot._frame is not None:
                threading.Event().wait(0.001)
            return super().read()

    daemon, recorder, _, _ = build(lambda: OneByOne(frames), live=live, clock=clock)
    daemon.run()
    (event,) = [event for event in recorder.events if event.decision]
    assert event.light == "ok"
    assert {"brightness", "presence", "classify"} <= {name for name, _ in event.stage_ms}
    if live:
        assert event.age_ms == pytest.approx((clock.now_s() - event.decision.decided_s) * 1000)
    else:
        assert event.age_ms is None


def test_a_source_that_says_it_shows_another_view_is_learned_anew():
    other = Bin(seed=4)
    second = [other.empty()] * 6 + [other.holding("green")] * 8 + [other.empty()] * 8
    frames = frames_of(VISIT[:22] + second)
    frames[22:] = [replace(frame, source="another view") for frame in frames[22:]]
    daemon, recorder, _, _ = build(lambda: ScriptedCamera(frames))
    daemon.run()
    assert recorder.labels == ["red", "green"]


def test_an_item_in_judging_at_the_end_is_decided():
    daemon, recorder, _, _ = build(lambda: ScriptedCamera(frames_of(VISIT[:9])))
    daemon.run()
    assert recorder.labels == ["red"]


def test_every_frame_of_photos_is_decided():
    images = [TRAY.holding(colour, size=0.9) for colour in ("red", "green", "blue")]
    daemon, recorder, _, _ = build(lambda: ScriptedCamera(frames_of(images)), mode="every_frame")
    assert daemon.run().items == 3
    assert recorder.labels == ["red", "green", "blue"]


def test_a_stop_ends_the_loop():
    daemon, recorder, stop, _ = build(lambda: ScriptedCamera(frames_of(VISIT * 1000)))
    recorder.on_event = lambda event: event.decision and stop.set()
    assert daemon.run().frames < 40
    assert recorder.states[-1] == "STOPPING"


def test_time_is_up():
    clock = ManualClock()

    class Ageing(ScriptedCamera):
        def read(self):
            clock.advance(1.0)
            return super().read()

    daemon, _, _, _ = build(lambda: Ageing(frames_of(VISIT * 100)), clock=clock, max_seconds=20)
    assert daemon.run().frames <= 21


def test_a_failing_model_ends_the_daemon_with_everything_closed():
    def fail(batch):
        return np.zeros((1, 99))

    camera = ScriptedCamera(frames_of(VISIT))
    daemon, recorder, _, _ = build(lambda: camera, function=fail)
    with pytest.raises(InferenceError) as caught:
        daemon.run()
    assert caught.value.exit_code == 5
    assert recorder.closed
    assert camera.closed


def test_a_lost_camera_comes_back():
    clock, back = ManualClock(), threading.Event()
    scripts = iter([VISIT[:6], VISIT[6:14]])

    class Holding(ScriptedCamera):
        """Live, but waits for nobody to overwrite: each frame only after the last was seen."""

    def open_camera():
        script = next(scripts, None)
        if script is None:
            back.wait(10)
            raise CameraError("unplugged")
        return Holding(frames_of(script), live=True)

    daemon, recorder, stop, _ = build(open_camera, live=True, clock=clock)
    capture_take = daemon._capture.take

    def take(timeout_s):
        frame = capture_take(0)
        if frame is None:
            clock.advance(0.3)
        return frame

    daemon._capture.take = take
    recorder.on_event = lambda event: event.lifecycle == "CAMERA_LOST" and (stop.set(), back.set())
    daemon.run()
    assert "CAMERA_LOST" in recorder.states
    assert recorder.states.count("CAMERA_LOST") == 1, "told on change only"


def test_a_camera_that_stays_away_is_given_up():
    clock = ManualClock()
    hang = threading.Event()

    class Silent(ScriptedCamera):
        def read(self):
            hang.wait(10)
            raise CameraError("silent")

    daemon, recorder, _, _ = build(lambda: Silent([], live=True), live=True, clock=clock)
    real_take = daemon._capture.take

    def take(timeout_s):
        clock.advance(0.5)
        return real_take(0)

    daemon._capture.take = take
    with pytest.raises(CameraError, match="gave up") as caught:
        daemon.run()
    hang.set()
    assert caught.value.exit_code == 4
    assert recorder.states == ["STARTING", "CAMERA_LOST", "STOPPING"]


def test_a_camera_that_never_opens_ends_at_once():
    def open_camera():
        raise CameraError("cannot open the camera")

    daemon, recorder, _, _ = build(open_camera, live=True)
    with pytest.raises(CameraError, match="cannot open"):
        daemon.run()
    assert recorder.states == ["STARTING", "STOPPING"]


def test_the_score_is_kept_where_the_truth_is_known():
    truths = [None] * 6 + ["red"] * 8 + [None] * 8 + ["green"] * 8
    frames = [replace(frame, truth=truth) for frame, truth in zip(frames_of(VISIT), truths, strict=True)]
    daemon, _, _, _ = build(lambda: ScriptedCamera(frames))
    score = daemon.run().score
    assert (score.shown, score.right, score.wrong, score.undecided, score.missed) == (2, 1, 1, 0, 0)


class TestWatchdog:
    def test_a_loop_that_stands_still_is_noticed_once(self):
        stalls = []
        watchdog = Watchdog(8.0, ManualClock(), stalls.append)
        watchdog.start()
        watchdog._thread.join(5)
        assert [type(error) for error in stalls] == [StalledError]
        assert stalls[0].exit_code == 6
        assert "8.0 s without progress" in str(stalls[0])

    def test_a_fed_one_is_quiet(self):
        stalls = []

        class FeedingClock(ManualClock):
            """Whoever waits on it has fed the watchdog meanwhile; its hundredth waiter is told to stop."""

            def wait(self, stop, timeout_s):
                super().wait(stop, timeout_s)
                watchdog.feed()
                return len(self.waits_s) >= 100

        watchdog = Watchdog(8.0, FeedingClock(), stalls.append)
        watchdog.start()
        watchdog._thread.join(5)
        assert stalls == []
