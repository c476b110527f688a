"""A network camera over a real connection, through OpenCV's FFmpeg: no delay, no waiting for ever, and back again."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
import threading

import cv2
import pytest

from device import stream_clock
from device.camera_settings import CameraMode, CameraSettings, RtspSettings
from device.capture import Capture, ReconnectSettings
from device.clock import SystemClock
from device.frame import BadFrameError
from device.gstreamer import rtsp_pipeline
from device.machine_checks import built_with
from device.opencv_camera import OpenCvCamera
from device.sources import RtspSource
from device.watched_camera import WatchedCamera, WatchLimits
from smartbin.errors import CameraError
from tests.device.broker import free_port, wait_until
from tests.device.rtsp_server import HEIGHT, LEVELS, WIDTH, RtspServer, number_of

pytestmark = pytest.mark.skipif(
    not built_with(cv2.getBuildInformation(), "FFMPEG"), reason="this OpenCV has no FFmpeg for rtsp://"
)

MODE = CameraMode(camera=CameraSettings(settle_s=0), rtsp=RtspSettings(backend="ffmpeg", timeout_s=1.0))


@pytest.fixture
def server():
    made = RtspServer()
    yield made
    made.close()


def open_camera(server) -> OpenCvCamera:
    return OpenCvCamera(RtspSource(server.url), MODE, SystemClock())


def test_each_picture_comes_when_it_was_sent_and_nothing_is_held_back(server):
    camera = open_camera(server)
    behind, numbers = [], []
    for _ in range(15):
        frame = camera.read()
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        numbers.append(number_of(frame.image))
        behind.append((server.sent - numbers[-1]) % LEVELS)
    camera.close()
    assert all((after - before) % LEVELS == 1 for before, after in itertools.pairwise(numbers))
    assert sorted(behind)[len(behind) // 2] <= 2, "a buffer of five would be a fifth of a second"


def test_what_a_network_held_back_is_as_old_as_it_is(server, monkeypatch):
    """Pictures of a stall come all at once: by their stamps, not by the time at which they come."""
    monkeypatch.setattr(stream_clock, "_LEARN_S", 0.5)
    camera, clock = open_camera(server), SystemClock()
    ages_s = []
    for _ in range(30):
        frame = camera.read()
        ages_s.append(clock.now_s() - frame.captured_s)
    assert sorted(ages_s)[20] < 0.2, "as long as nothing is held back"
    server.stuck.set()
    before = server.sent
    wait_until(lambda: server.sent >= before + 30, "thirty pictures, which are held back")
    server.stuck.clear()
    burst_s = []
    for _ in range(30):
        frame = camera.read()
        burst_s.append(clock.now_s() - frame.captured_s)
    camera.close()
    assert max(burst_s) > 0.8, "thirty pictures are 1.2 s"
    assert burst_s[-1] < 0.4


def test_a_camera_that_says_nothing_is_not_waited_for(server):
    camera = open_camera(server)
    server.silent.set()
    refused = None
    for _ in range(LEVELS):  # what was on its way comes first
        try:
            camera.read()
        except BadFrameError as error:
            refused = error.reason
            break
    camera.close()
    assert refused == "empty"


def test_one_that_was_unplugged_is_found_again(server):
    clock, stop = SystemClock(), threading.Event()
    capture = Capture(
        lambda: WatchedCamera(open_camera(server), WatchLimits(30.0, repeats_age=False)),
        live=True,
        max_age_s=5.0,
        reconnect=ReconnectSettings(first_s=0.05, cap_s=0.2, lost_after_s=0.5),
        clock=clock,
        stop=stop,
    )
    capture.start()
    assert wait_until(lambda: capture.take(0.1), "a first frame")
    server.close()
    wait_until(lambda: capture.trouble is not None and capture.counts.reconnects > 1, "tries in vain")
    again = RtspServer(server.port)
    try:
        wait_until(lambda: again.viewers, "a new viewer")
        frame = wait_until(lambda: capture.take(0.1), "a frame of the new stream")
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        assert capture.trouble is None
    finally:
        assert capture.close()
        again.close()


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="no gst-launch-1.0 here")
def test_the_pipeline_for_gstreamer_plays_it(server):
    """What OpenCV would be given, with GStreamer's own launcher in its place; its sink counts instead of handing on."""
    pipeline = rtsp_pipeline(server.url, RtspSettings(), jetson=False)
    counting = pipeline.replace("appsink drop=true max-buffers=1 sync=false", "fakesink sync=false num-buffers=10")
    assert counting != pipeline
    done = subprocess.run(
        ["gst-launch-1.0", "-v", *shlex.split(counting)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    caps = next(line for line in done.stdout.splitlines() if "fakesink" in line.lower() and "caps =" in line)
    assert "format=(string)BGR" in caps
    assert f"width=(int){WIDTH}" in caps


def test_nobody_there_is_an_error_of_the_camera():
    with pytest.raises(CameraError, match="cannot open the camera") as caught:
        OpenCvCamera(RtspSource(f"rtsp://user:secret@127.0.0.1:{free_port()}/live"), MODE, SystemClock())
    assert "secret" not in str(caught.value)
