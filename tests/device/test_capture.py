from __future__ import annotations

import threading

import pytest

from device.camera import ScriptedCamera
from device.capture import Capture, FrameSlot, ReconnectSettings
from device.clock import ManualClock
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

    capture = Capture(
        open_camera,
        live=live,
        max_age_s=max_age_s,
        reconnect=ReconnectSettings(first_s=1.0, cap_s=4.0),
        clock=clock or ManualClock(),
        stop=stop or threading.Event(),
    )
    return capture, opened


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

    class Last(ScriptedCamera):
        def read(self):
            stop.set()
            return FRAMES[0]

    tries = iter([ScriptedCamera(FRAMES[:2], live=True), LOST, LOST, LOST, LOST, Last([], live=True)])

    def open_camera():
        camera = next(tries)
        if isinstance(camera, Exception):
            raise camera
        return camera

    capture = Capture(
        open_camera,
        live=True,
        max_age_s=60,
        reconnect=ReconnectSettings(first_s=1.0, cap_s=4.0),
        clock=clock,
        stop=stop,
    )
    capture.start()
    wait_until_ended(capture)
    assert clock.waits_s == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert capture.counts.reconnects == 5
    assert capture.trouble is LOST
    assert capture.take(0).seq == 3, "numbers go on"


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
