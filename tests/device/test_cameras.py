from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from device.clock import ManualClock
from device.frame import BadFrameError
from device.opencv_camera import CameraMode, OpenCvCamera, as_bgr, csi_pipeline, device_number
from device.sources import CsiSource, DeviceSource, RtspSource
from smartbin.errors import CameraError
from tests.device.staging import PICTURE, FakeCapture


def open_fake(capture, source=DeviceSource("/dev/video0"), mode=CameraMode()):  # noqa: B008 - frozen
    return OpenCvCamera(source, mode, ManualClock(), capture.open)


class TestOpenCvCamera:
    def test_reads_frames_with_number_and_time(self):
        camera = open_fake(FakeCapture([PICTURE, PICTURE]))
        first, second = camera.read(), camera.read()
        assert (first.seq, second.seq) == (1, 2)
        assert first.captured_s == 1000.0
        assert camera.live

    def test_a_closed_door_says_what_to_do_and_is_released(self):
        capture = FakeCapture(opens=False)
        with pytest.raises(CameraError, match="cannot open the camera") as caught:
            open_fake(capture)
        assert capture.released == 1
        assert "doctor" in str(caught.value)
        assert caught.value.exit_code == 4

    def test_a_camera_without_a_picture_is_released(self):
        capture = FakeCapture([])
        with pytest.raises(CameraError, match="gives no picture"):
            open_fake(capture)
        assert capture.released == 1

    def test_a_driver_that_fails_while_it_is_configured_is_released(self):
        capture = FakeCapture(fails_on_set=True)
        with pytest.raises(RuntimeError):
            open_fake(capture)
        assert capture.released == 1

    def test_first_reads_may_fail(self):
        assert open_fake(FakeCapture([None, None, PICTURE])).read().image is PICTURE

    def test_a_read_without_a_frame_may_pass(self):
        camera = open_fake(FakeCapture([PICTURE, None, PICTURE]))
        camera.read()
        with pytest.raises(BadFrameError, match="gave no frame") as caught:
            camera.read()
        assert caught.value.reason == "empty"
        assert camera.read().seq == 2

    def test_what_the_camera_made_of_the_wishes_is_said(self, caplog):
        capture = FakeCapture(settings={cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 720.0})
        open_fake(capture, mode=CameraMode(width=1280, height=720))
        assert capture.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
        assert "asked for width 1280, it gives 640" in caplog.text
        assert "height" not in caplog.text

    def test_csi_takes_the_newest_frame_only(self):
        capture = FakeCapture()
        open_fake(capture, CsiSource(1), CameraMode(fps=60))
        assert capture.backend == cv2.CAP_GSTREAMER
        assert "sensor-id=1" in capture.target
        assert "framerate=60/1" in capture.target
        assert capture.target.endswith("appsink drop=true max-buffers=1 sync=false")
        assert not capture.asked, "the pipeline says it all"

    def test_rtsp_has_time_outs_and_no_buffer(self, monkeypatch):
        monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)
        seen = []

        class Looking(FakeCapture):
            def open(self, *arguments):
                seen.append(os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"])
                return super().open(*arguments)

        capture = Looking()
        open_fake(capture, RtspSource("rtsp://host/x"))
        assert cv2.CAP_PROP_READ_TIMEOUT_MSEC in capture.parameters
        assert "nobuffer" in seen[0]
        assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ, "a file opened later would lose its last frame"

    def test_a_real_opencv_without_this_camera_fails_cleanly(self, capfd):
        with pytest.raises(CameraError):
            OpenCvCamera(DeviceSource("/dev/video99"), CameraMode(), ManualClock())
        capfd.readouterr()

    def test_device_numbers_are_found_through_links(self, tmp_path):
        link = tmp_path / "cam"
        link.symlink_to("/dev/video4")
        assert device_number(str(link)) == 4
        assert device_number("/dev/video11") == 11
        assert device_number("/dev/other") == "/dev/other"


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_every_channel_count_becomes_bgr(shape):
    assert as_bgr(np.zeros(shape, np.uint8)).shape == (4, 6, 3)


def test_csi_pipeline_has_a_default_size():
    assert "width=1280, height=720, framerate=30/1" in csi_pipeline(0, CameraMode())
