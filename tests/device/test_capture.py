from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from device.camera import ScriptedCamera
from device.capture import Capture, FrameSlot, ReconnectSettings
from device.clock import ManualClock
from device.frame import BadFrameError
from smartbin.errors import CameraError
from tests.device.staging import Bin, frames_of

FRAMES = frames_of([Bin().empty()] * 5, start_s=1000.0)
LOST = CameraError("unplugged")


def make_capture(*scripts, live, clock=None, stop=None, max_age_s=60.0, failing_opens=()):
    """A capture whose n-th camera plays the n-th script; an exception as script fails to open."""
    cameras = iter(scripts)
    opened = []

    def open_camera():
        script = next(cameras)
        if isinstance(script, Exception):
            raise script
        opened.append(ScriptedCamera(script, live=live))
        return opened[-1]

    clock, stop = clock or ManualClock(), stop or threading.Event()
    return capture_of(open_camera, clock, stop, live=live, max_age_s=max_age_s), opened


def capture_of(open_camera, clock, stop, *, live=True, max_age_s=60.0, jitter=0.0, **more):
    reconnect = ReconnectSettings(first_s=1.0, cap_s=4.0, jitter=jitter)
    return Capture(open_camera, live=live, max_age_s=max_age_s, reconnect=reconnect, clock=clock, stop=stop, **more)


def drain(capture):
    frames = []
    while not capture.finished:
        if (frame := capture.take(1.0)) is not None:
            frames.append(frame)
    return frames


def wait_until_ended(capture):
    capture._thread.join(5)
    assert not capture._thread.is_alive()


def test_a_recording_loses_no_frame():
    capture, opened = make_capture(FRAMES, live=False)
    capture.start()
    assert [frame.seq for frame in drain(capture)] == [1, 2, 3, 4, 5]
    assert capture.counts.overwritten == 0
    assert capture.close()
    assert opened[0].closed


def test_a_live_camera_overwrites_and_counts():
    slot = FrameSlot(wait_for_consumer=False)
    for frame in FRAMES:
        assert slot.put(frame)
    assert slot.overwritten == 4
    assert slot.take(0).seq == 5
    assert slot.take(0) is None


def test_old_frames_are_refused_and_counted():
    clock = ManualClock(1000.0)
    stop = threading.Event()
    capture, _ = make_capture([FRAMES[0]], live=True, clock=clock, stop=stop, max_age_s=0.5)
    capture._slot.put(FRAMES[0])
    clock.advance(0.6)
    assert capture.take(0) is None
    assert capture.counts.too_old == 1
    capture.close()


def test_a_frame_that_grows_old_while_it_is_judged_is_counted_and_a_machine_that_is_too_slow_is_said_once(caplog):
    clock = ManualClock(1000.0)
    capture, _ = make_capture(FRAMES, live=True, clock=clock, stop=threading.Event(), max_age_s=0.5)
    frame = replace(FRAMES[0], captured_s=1000.0)
    assert not capture.went_stale(frame)
    clock.advance(0.6)
    for _ in range(30):
        assert capture.went_stale(frame)
    assert capture.counts.too_old == 30
    assert caplog.text.count("max_age_s = 0.5") == 1
    capture.close()
    recording, _ = make_capture(FRAMES, live=False, clock=clock, stop=threading.Event(), max_age_s=0.5)
    assert not recording.went_stale(frame), "a recording waits for its judge"
    recording.close()


def test_a_camera_that_never_opens_ends_with_its_error():
    capture, _ = make_capture(LOST, live=True)
    capture.start()
    wait_until_ended(capture)
    with pytest.raises(CameraError, match="unplugged"):
        capture.take(0)


def test_an_error_inside_the_thread_reaches_the_main_loop_after_the_frames():
    capture, opened = make_capture([FRAMES[0], RuntimeError("driver bug")], live=False)
    capture.start()
    assert capture.take(5).seq == 1
    wait_until_ended(capture)
    with pytest.raises(RuntimeError, match="driver bug"):
        capture.take(0)
    assert opened[0].closed


def test_a_lost_camera_is_opened_again_with_growing_pauses():
    clock, stop = ManualClock(), threading.Event()

    troubles = []

    class Last(ScriptedCamera):
        def read(self):
            troubles.append(capture.trouble)
            stop.set()
            return FRAMES[0]

    tries = iter([ScriptedCamera(FRAMES[:2], live=True), LOST, LOST, LOST, LOST, Last([], live=True)])

    def open_camera():
        camera = next(tries)
        if isinstance(camera, Exception):
            raise camera
        return camera

    capture = capture_of(open_camera, clock, stop)
    capture.start()
    wait_until_ended(capture)
    assert clock.waits_s == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert capture.counts.reconnects == 5
    assert troubles == [LOST]
    assert capture.trouble is None, "over with the first frame"
    assert capture.take(0).seq == 3, "numbers go on"


def test_the_pauses_are_shortened_at_random():
    clock, stop = ManualClock(), threading.Event()
    tries = iter([ScriptedCamera(FRAMES[:1], live=True), LOST, LOST])

    def open_camera():
        camera = next(tries, None)
        if camera is None:
            stop.set()
        if not isinstance(camera, ScriptedCamera):
            raise LOST
        return camera

    capture = capture_of(open_camera, clock, stop, jitter=0.5, chance=iter([0.0, 0.5, 1.0]).__next__)
    capture.start()
    wait_until_ended(capture)
    assert clock.waits_s == [1.0, 1.5, 2.0]


class LiveFor(ScriptedCamera):
    """Its frames take a second each; then it is lost."""

    def __init__(self, clock, script):
        super().__init__(script, live=True)
        self._clock = clock

    def read(self):
        self._clock.advance(1.0)
        return super().read()


@pytest.mark.parametrize(
    ("lives", "pauses"),
    [
        ([1, 1, 1], [1.0, 2.0, 4.0]),
        ([3, 3, 3], [1.0, 1.0, 1.0]),
        ([1, 1, 1, 2, 1], [1.0, 2.0, 4.0, 1.0, 2.0]),
    ],
)
def test_only_a_camera_that_lasts_ends_the_growth_of_the_pauses(lives, pauses):
    """One that opens, gives a frame and fails again would otherwise be opened for ever, as fast as it goes."""
    clock, stop = ManualClock(), threading.Event()
    tries = iter([LiveFor(clock, FRAMES[:frames]) for frames in lives])

    def open_camera():
        camera = next(tries, None)
        if camera is None:
            stop.set()
            raise LOST
        return camera

    capture = capture_of(open_camera, clock, stop)
    capture.start()
    wait_until_ended(capture)
    assert clock.waits_s == pauses


def bad(reason):
    return BadFrameError("no good", reason)


def test_frames_that_cannot_be_used_are_left_out_and_counted():
    script = [FRAMES[0], bad("size"), bad("torn"), FRAMES[1], bad("size"), FRAMES[2]]
    capture, _ = make_capture(script, LOST, live=True)
    capture.start()
    wait_for_captured(capture, 3)
    assert capture.counts.refused == (("size", 2), ("torn", 1))
    assert capture.close()


def wait_for_captured(capture, number):
    deadline = time.monotonic() + 10
    while capture.counts.captured < number and time.monotonic() < deadline:
        time.sleep(0.001)
    assert capture.counts.captured == number


@pytest.mark.parametrize(("between_s", "refused"), [(0.01, 10), (0.5, 4)])
def test_nothing_but_unfit_frames_is_a_lost_camera(between_s, refused):
    """Ten in a row, or none that is fit for as long as makes a camera lost (2 s)."""
    clock, stop = ManualClock(), threading.Event()

    class Unfit(ScriptedCamera):
        def read(self):
            clock.advance(between_s)
            return super().read()

    cameras = iter([Unfit([FRAMES[0], *[bad("empty") for _ in range(50)]], live=True)])

    def open_camera():
        camera = next(cameras, None)
        if camera is None:
            troubles.append(capture.trouble)
            stop.set()
            raise LOST
        return camera

    troubles = []
    capture = Capture(open_camera, live=True, max_age_s=60, reconnect=ReconnectSettings(), clock=clock, stop=stop)
    capture.start()
    wait_until_ended(capture)
    assert "no usable frame" in str(troubles[0])
    assert capture.counts.refused == (("empty", refused),)


def test_pictures_that_come_again_with_their_old_time_are_counted():
    frames = frames_of([Bin().empty()] * 4, start_s=1000.0)
    frames[2] = replace(frames[2], captured_s=frames[1].captured_s)
    capture, _ = make_capture([*frames, None], live=True)
    capture.start()
    wait_for_captured(capture, 4)
    assert capture.counts.repeated == 1
    capture.close()


def test_closing_wakes_a_thread_that_waits_for_the_consumer():
    capture, opened = make_capture(FRAMES, live=False)
    capture.start()
    assert capture.close()
    assert opened == [] or opened[0].closed


def test_closing_before_the_start_is_harmless():
    capture, _ = make_capture(FRAMES, live=False)
    assert capture.close()


def test_a_thread_that_hangs_in_its_driver_is_left_behind(monkeypatch):
    release = threading.Event()

    class Hanging(ScriptedCamera):
        def read(self):
            release.wait(5)
            return

    monkeypatch.setattr("device.capture._JOIN_S", 0.01)
    stop = threading.Event()
    capture = Capture(
        lambda: Hanging([], live=True),
        live=True,
        max_age_s=1,
        reconnect=ReconnectSettings(),
        clock=ManualClock(),
        stop=stop,
    )
    capture.start()
    assert not capture.close()
    release.set()
    wait_until_ended(capture)
