from __future__ import annotations

import errno
import os
import struct

import cv2
import numpy as np
import pytest

from device import v4l2
from device.camera_settings import CameraMode, CameraSettings, RtspSettings, refused
from device.clock import ManualClock
from device.frame import BadFrameError
from device.gstreamer import csi_pipeline, opencv_has_gstreamer, rtsp_pipeline
from device.machine_checks import built_with
from device.opencv_camera import OpenCvCamera, as_bgr, device_number
from device.sources import CsiSource, DeviceSource, RtspSource
from smartbin.errors import CameraError
from tests.device.staging import PICTURE, FakeCapture

AT_ONCE = CameraSettings(settle_s=0)


def open_fake(capture, source=DeviceSource("/dev/video0"), controls=None, clock=None, **mode):  # noqa: B008 - frozen
    asked = CameraMode(**{"camera": AT_ONCE, **mode})
    return OpenCvCamera(source, asked, clock or ManualClock(), capture.open, lambda device: controls)


class TestOpenCvCamera:
    def test_reads_frames_with_number_and_time(self):
        camera = open_fake(FakeCapture([PICTURE, PICTURE]))
        first, second = camera.read(), camera.read()
        assert (first.seq, second.seq) == (1, 2)
        assert first.captured_s == 1000.0
        assert camera.live

    def test_the_drivers_stamp_says_when_a_picture_was_taken(self):
        """V4L2 stamps buffers in monotonic time: one that waited in the driver is as old as it is."""
        clock = ManualClock(1000.0)
        capture = FakeCapture([PICTURE] * 3, settings={cv2.CAP_PROP_POS_MSEC: 999_980.0})
        camera = open_fake(capture, clock=clock)
        assert camera.read().captured_s == pytest.approx(999.98)
        clock.advance(4.0)
        capture.settings[cv2.CAP_PROP_POS_MSEC] = 1_000_500.0
        assert camera.read().captured_s == pytest.approx(1000.5), "3.5 s old"

    @pytest.mark.parametrize("stamp_ms", [0.0, -1.0, 1.7e12, 500_000.0, 1_000_500.0])
    def test_a_stamp_of_another_clock_is_not_taken(self, stamp_ms):
        clock = ManualClock(1000.0)
        camera = open_fake(FakeCapture([PICTURE] * 2, settings={cv2.CAP_PROP_POS_MSEC: stamp_ms}), clock=clock)
        assert camera.read().captured_s == 1000.0
        clock.advance(1.0)
        assert camera.read().captured_s == 1001.0

    def test_the_position_in_a_stream_is_no_stamp(self):
        capture = FakeCapture([PICTURE] * 2, settings={cv2.CAP_PROP_POS_MSEC: 999_990.0})
        camera = open_fake(capture, RtspSource("rtsp://host/x"), rtsp=RtspSettings(backend="ffmpeg"))
        assert camera.read().captured_s == 1000.0

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
        pictures = [np.zeros((720, 640, 3), np.uint8)]
        capture = FakeCapture(pictures, settings={cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 720.0})
        camera = open_fake(capture, width=1280, height=720)
        assert capture.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
        assert "asked for width 1280, it gives 640" in caplog.text
        assert "asked for height" not in caplog.text
        assert len(caplog.records) == 1, "one line"
        assert [answer.name for answer in refused(camera.answers)] == ["width"]

    def test_the_format_comes_first_and_is_read_back(self):
        mjpg = float(cv2.VideoWriter.fourcc(*"MJPG"))
        settings = {cv2.CAP_PROP_FOURCC: mjpg, cv2.CAP_PROP_FRAME_WIDTH: 640.0}
        capture = FakeCapture([np.zeros((480, 640, 3), np.uint8)], settings=settings)
        camera = open_fake(capture, width=640, camera=CameraSettings(format="MJPG", settle_s=0))
        assert list(capture.asked)[1:] == [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH]
        assert not refused(camera.answers)
        other = open_fake(FakeCapture(), camera=CameraSettings(format="YUYV", settle_s=0))
        assert str(refused(other.answers)[0]) == "asked for format YUYV, it gives unknown"

    @pytest.mark.parametrize("source", [DeviceSource("/dev/video0"), CsiSource(0), RtspSource("rtsp://host/x")])
    def test_the_picture_itself_has_the_last_word_on_its_size(self, source):
        """A driver that says yes and sends something else; a pipeline that has nothing to read back."""
        settings = {cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0}
        capture = FakeCapture([np.zeros((480, 320, 3), np.uint8)], settings=settings)
        answers = open_fake(capture, source, width=640, height=480).answers
        assert [str(answer) for answer in refused(answers)] == ["asked for width 640, it gives 320"]
        assert [answer.name for answer in answers].count("width") == 1

    @pytest.mark.parametrize(
        ("source", "nominal", "pause_s", "hold_rate", "told"),
        [
            (DeviceSource("/dev/video0"), 30.0, 1 / 15, True, "asked for frame rate 30 a second, it gives 15.0"),
            (DeviceSource("/dev/video0"), 30.0, 1 / 28, True, ""),
            (DeviceSource("/dev/video0"), 30.0, 1 / 15, False, ""),
            (DeviceSource("/dev/video0"), 0.0, 1 / 15, True, ""),
            (CsiSource(0), 0.0, 1 / 15, True, "asked for frame rate 30 a second, it gives 15.0"),
            (RtspSource("rtsp://host/x"), 90000.0, 1 / 15, True, ""),
        ],
    )
    def test_a_rate_that_is_not_there_is_measured_and_said(self, source, nominal, pause_s, hold_rate, told):
        """Auto-exposure in dim light without a control that could hold it, or a bus that is too slow."""
        clock = ManualClock()

        class Dim(FakeCapture):
            def read(self):
                clock.advance(pause_s)
                return super().read()

        capture = Dim([PICTURE] * 40, settings={cv2.CAP_PROP_FPS: nominal})
        camera = open_fake(capture, source, clock=clock, camera=CameraSettings(hold_rate=hold_rate))
        assert "; ".join(str(answer) for answer in refused(camera.answers)) == told

    def test_it_waits_until_the_brightness_is_steady(self):
        levels = [10, 60, 90, 110, 118, *[120] * 20]
        capture = FakeCapture([np.full((48, 64, 3), level, np.uint8) for level in levels])
        camera = open_fake(capture, camera=CameraSettings(settle_s=1.0))
        assert camera.read().image[0, 0, 0] == 120
        assert len(capture.images) == 15, "five that are alike, and no more"

    def test_it_does_not_wait_for_ever(self):
        clock = ManualClock()

        class Flickering(FakeCapture):
            def read(self):
                clock.advance(0.1)
                return super().read()

        capture = Flickering([np.full((48, 64, 3), level, np.uint8) for level in (50, 150) * 50])
        open_fake(capture, clock=clock, camera=CameraSettings(settle_s=1.0))
        assert 85 <= len(capture.images) <= 92

    def test_a_fault_of_opencv_is_an_error_of_the_camera(self):
        class Broken(FakeCapture):
            def get(self, prop):
                raise cv2.error("assertion failed")

        capture = Broken()
        with pytest.raises(CameraError, match="fails while it is opened"):
            open_fake(capture, width=640)
        assert capture.released == 1

    def test_a_picture_that_opencv_cannot_decode_is_one_bad_frame(self):
        class Broken(FakeCapture):
            def read(self):
                done, image = super().read()
                if done and image is None:
                    return done, image
                if image is not None and image.size == 1:
                    raise cv2.error("imdecode")
                return done, image

        camera = open_fake(Broken([PICTURE, np.zeros((1, 1), np.uint8), PICTURE]))
        camera.read()
        with pytest.raises(BadFrameError):
            camera.read()
        assert camera.read().image is PICTURE

    def test_csi_takes_the_newest_frame_only(self):
        capture = FakeCapture()
        open_fake(capture, CsiSource(1), fps=60)
        assert capture.backend == cv2.CAP_GSTREAMER
        assert "sensor-id=1" in capture.target
        assert "framerate=60/1" in capture.target
        assert capture.target.endswith("appsink drop=true max-buffers=1 sync=false")
        assert not capture.asked, "the pipeline says it all"
        assert dict(zip(capture.parameters[::2], capture.parameters[1::2], strict=True)) == {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 10_000,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: 5_000,
        }, "a driver that hangs is not waited for"

    def test_rtsp_has_time_outs_and_no_buffer(self, monkeypatch):
        monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)
        seen = []

        class Looking(FakeCapture):
            def open(self, *arguments):
                seen.append(os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"])
                return super().open(*arguments)

        capture = Looking()
        open_fake(capture, RtspSource("rtsp://host/x"), rtsp=RtspSettings(backend="ffmpeg"))
        assert cv2.CAP_PROP_READ_TIMEOUT_MSEC in capture.parameters
        assert "rtsp_transport;tcp|" in seen[0]
        assert "nobuffer" in seen[0]
        assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ, "a file opened later would lose its last frame"

    @pytest.mark.parametrize(
        ("backend", "there", "opens", "used"),
        [
            ("auto", True, [True], [cv2.CAP_GSTREAMER]),
            ("auto", True, [False, True], [cv2.CAP_GSTREAMER, cv2.CAP_FFMPEG]),
            ("auto", False, [True], [cv2.CAP_FFMPEG]),
            ("ffmpeg", True, [True], [cv2.CAP_FFMPEG]),
            ("gstreamer", False, [True], [cv2.CAP_GSTREAMER]),
        ],
    )
    def test_rtsp_through_gstreamer_else_ffmpeg(self, monkeypatch, backend, there, opens, used):
        monkeypatch.setattr("device.opencv_camera.opencv_has_gstreamer", lambda: there)
        captures, tried = [FakeCapture(opens=answer) for answer in opens], []

        def opener(target, which, parameters):
            tried.append(which)
            return captures[len(tried) - 1].open(target, which, parameters)

        settings = RtspSettings(backend=backend, transport="udp", timeout_s=2.0)
        mode = CameraMode(camera=AT_ONCE, rtsp=settings)
        OpenCvCamera(RtspSource("rtsp://host/x"), mode, ManualClock(), opener)
        assert tried == used
        assert [capture.released for capture in captures[:-1]] == [1] * (len(used) - 1)
        assert captures[-1].parameters[1::2] == [2000, 2000], "to open and to read"

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


def test_opencv_is_asked_whether_it_really_has_gstreamer():
    """Its list of back ends names it in builds without it, too."""
    assert opencv_has_gstreamer() is built_with(cv2.getBuildInformation(), "GStreamer")


class TestPipelines:
    def test_csi_has_a_default_size_and_leaves_the_rest_to_the_camera(self):
        pipeline = csi_pipeline(0, CameraMode())
        assert "width=1280, height=720, framerate=30/1" in pipeline
        assert pipeline.startswith("nvarguscamerasrc sensor-id=0 ! ")

    def test_csi_with_everything(self):
        settings = CameraSettings(exposure_ms=(0.1, 20), gain=(1, 8), white_balance="daylight")
        assert csi_pipeline(2, CameraMode(camera=settings)).startswith(
            'nvarguscamerasrc sensor-id=2 exposuretimerange="100000 20000000" gainrange="1 8" wbmode=5 ! '
        )
        assert 'exposuretimerange="8000000 8000000"' in csi_pipeline(
            0, CameraMode(camera=CameraSettings(exposure_ms=8))
        )

    @pytest.mark.parametrize(
        ("exposure_ms", "fps", "asked", "told"),
        [
            (60.0, None, "33333333 33333333", "asked for exposure 60 ms, it gives 33.3 ms, as long as a frame lasts"),
            ((0.1, 20), 60, "100000 16666667", "asked for exposure up to 20 ms, it gives 16.7 ms, as long as a frame"),
            ((40, 50), 30, "33333333 33333333", "asked for exposure up to 50 ms"),
            ((0.1, 20), 50, "100000 20000000", ""),
        ],
    )
    def test_csi_is_never_exposed_for_longer_than_a_frame(self, exposure_ms, fps, asked, told):
        capture = FakeCapture()
        camera = open_fake(capture, CsiSource(0), fps=fps, camera=CameraSettings(exposure_ms=exposure_ms, settle_s=0))
        assert f'exposuretimerange="{asked}"' in capture.target
        assert "".join(str(answer) for answer in refused(camera.answers)).startswith(told)
        assert bool(refused(camera.answers)) == bool(told)

    def test_csi_says_what_it_cannot_do(self):
        mode = {"camera": CameraSettings(format="MJPG", white_balance_k=4000, settle_s=0)}
        answers = open_fake(FakeCapture(), CsiSource(0), **mode).answers
        assert [answer.name for answer in refused(answers)] == ["format", "white_balance_k"]

    def test_rtsp(self):
        pipeline = rtsp_pipeline("rtsp://u:p@host/x", RtspSettings(timeout_s=3), jetson=False)
        assert pipeline.startswith('rtspsrc location="rtsp://u:p@host/x" protocols=tcp latency=0 ')
        assert "tcp-timeout=3000000" in pipeline
        assert pipeline.endswith("appsink drop=true max-buffers=1 sync=false")
        assert "nvvidconv" not in pipeline
        assert "! nvvidconv !" in rtsp_pipeline("rtsp://host/x", RtspSettings(), jetson=True)

    def test_an_address_cannot_leave_its_quotes(self):
        pipeline = rtsp_pipeline('rtsp://host/x" ! filesink location="/etc/x', RtspSettings(), jetson=False)
        assert 'location="rtsp://host/x%22 ! filesink location=%22/etc/x"' in pipeline


class FakeControls:
    """The controls of a camera: `values` are what it has, `limits` what it makes of a wish."""

    def __init__(self, values, limits=None, refuses=()):
        self.values, self.limits, self.refuses, self.closed = dict(values), limits or {}, refuses, False

    def get(self, control):
        return self.values.get(control)

    def set(self, control, value):
        if control in self.values and control not in self.refuses:
            low, high = self.limits.get(control, (value, value))
            self.values[control] = min(max(value, low), high)
        return self.get(control)

    def close(self):
        self.closed = True


WEBCAM = {
    v4l2.AUTO_EXPOSURE: 1, v4l2.EXPOSURE_TIME: 156, v4l2.DYNAMIC_RATE: 1, v4l2.GAIN: 0,
    v4l2.AUTO_WHITE_BALANCE: 1, v4l2.WHITE_BALANCE_K: 4600, v4l2.POWER_LINE: 2,
}  # fmt: skip


class TestControls:
    def ask(self, controls, **settings):
        return v4l2.ask_controls(CameraSettings(**settings), controls)

    def test_by_default_all_is_automatic_and_the_rate_is_held(self):
        controls = FakeControls({**WEBCAM, v4l2.AUTO_WHITE_BALANCE: 0, v4l2.AUTO_GAIN: 0})
        (answer,) = self.ask(controls)
        assert controls.values[v4l2.AUTO_GAIN] == 1
        assert str(answer) == "frame rate held"
        assert controls.values[v4l2.AUTO_EXPOSURE] == 3
        assert controls.values[v4l2.DYNAMIC_RATE] == 0
        assert controls.values[v4l2.AUTO_WHITE_BALANCE] == 1

    def test_a_camera_without_aperture_priority_gets_full_automatic(self):
        controls = FakeControls(WEBCAM, {v4l2.AUTO_EXPOSURE: (0, 1)})
        self.ask(controls)
        assert controls.values[v4l2.AUTO_EXPOSURE] == 0

    def test_the_rate_may_be_left_free(self):
        controls = FakeControls(WEBCAM)
        assert self.ask(controls, hold_rate=False) == []
        assert controls.values[v4l2.DYNAMIC_RATE] == 1

    def test_a_camera_without_controls_is_only_told_where_one_was_asked_for(self):
        assert self.ask(FakeControls({})) == []
        answers = self.ask(FakeControls({}), exposure_ms=8, gain=4, white_balance_k=4000, power_line_hz=50)
        assert [answer.got for answer in answers[:3]] == ["no such control"] * 3
        assert len(refused(answers)) == 4

    def test_fixed_values_are_set_and_read_back(self):
        controls = FakeControls(WEBCAM, {v4l2.EXPOSURE_TIME: (3, 100), v4l2.WHITE_BALANCE_K: (2800, 6500)})
        answers = self.ask(controls, exposure_ms=8, gain=4, white_balance_k=3000, power_line_hz=50)
        assert not refused(answers)
        assert [str(answer) for answer in answers[:3]] == ["exposure 8 ms", "gain 4", "white balance 3000 K"]
        assert controls.values[v4l2.AUTO_EXPOSURE] == 1
        assert controls.values[v4l2.AUTO_WHITE_BALANCE] == 0
        assert controls.values[v4l2.POWER_LINE] == 1
        answers = self.ask(controls, exposure_ms=40, white_balance_k=9000)
        assert [str(answer) for answer in answers] == [
            "asked for exposure 40 ms, it gives 10 ms",
            "asked for white balance 9000 K, it gives 6500 K",
        ]

    @pytest.mark.parametrize(
        ("fps", "hold_rate", "given"), [(30.0, True, 333), (30.0, False, 500), (0.0, True, 500), (15.0, True, 500)]
    )
    def test_a_fixed_exposure_is_no_longer_than_a_frame(self, fps, hold_rate, given):
        controls = FakeControls(WEBCAM)
        settings = CameraSettings(exposure_ms=50, hold_rate=hold_rate)
        answer = v4l2.ask_controls(settings, controls, fps)[0]
        assert controls.values[v4l2.EXPOSURE_TIME] == given
        assert answer.taken == (given == 500)
        assert answer.taken or str(answer) == "asked for exposure 50 ms, it gives 33.3 ms"

    def test_the_rate_that_limits_is_the_one_that_was_read_back(self):
        controls = FakeControls(WEBCAM)
        capture = FakeCapture(settings={cv2.CAP_PROP_FPS: 50.0})
        camera = open_fake(capture, controls=controls, fps=30, camera=CameraSettings(exposure_ms=30, settle_s=0))
        assert controls.values[v4l2.EXPOSURE_TIME] == 200
        assert {answer.name for answer in refused(camera.answers)} == {"fps", "exposure"}

    def test_limits_are_for_csi(self):
        answers = self.ask(FakeControls(WEBCAM), exposure_ms=(1, 20), gain=(1, 4), white_balance="shade")
        assert [answer.name for answer in refused(answers)] == ["exposure", "gain", "white balance"]

    def test_a_rate_that_is_not_held_is_told(self):
        answers = self.ask(FakeControls(WEBCAM, refuses=(v4l2.DYNAMIC_RATE,)))
        assert str(answers[0]) == "asked for frame rate held in dim light, it gives free to fall"

    def test_the_camera_asks_and_lets_go(self, caplog):
        controls = FakeControls(WEBCAM, {v4l2.EXPOSURE_TIME: (3, 50)})
        camera = open_fake(FakeCapture(), controls=controls, camera=CameraSettings(exposure_ms=40, settle_s=0))
        assert controls.closed
        assert "asked for exposure 40 ms, it gives 5 ms" in caplog.text
        assert camera.read() is not None

    def test_numbers_and_bytes_are_those_of_the_kernel(self, tmp_path):
        """struct v4l2_control is { u32 id; s32 value }; the requests are _IOWR('V', 27 and 28) of 8 bytes."""
        calls, state = [], {}

        def ioctl(file, request, data):
            control, value = struct.unpack("=Ii", data)
            calls.append((request, control, value))
            if control == v4l2.GAIN:
                raise OSError(errno.EINVAL, "no such control")
            if request == 3 << 30 | 8 << 16 | ord("V") << 8 | 28:
                state[control] = min(value, 50)
            return struct.pack("=Ii", control, state.get(control, -1))

        (tmp_path / "video0").touch()
        controls = v4l2.V4l2Controls(str(tmp_path / "video0"), ioctl)
        assert controls.get(v4l2.EXPOSURE_TIME) == -1
        assert calls == [(3 << 30 | 8 << 16 | ord("V") << 8 | 27, 0x009A0900 + 2, 0)]
        assert controls.set(v4l2.EXPOSURE_TIME, 99) == 50
        assert controls.set(v4l2.GAIN, 1) is None
        controls.close()
        controls.close()
        assert controls.get(v4l2.EXPOSURE_TIME) is None

    def test_a_file_that_is_no_camera_has_no_controls(self, tmp_path):
        (tmp_path / "video0").touch()
        controls = v4l2.open_controls(str(tmp_path / "video0"))
        assert controls is not None
        assert controls.get(v4l2.GAIN) is None
        controls.close()
        assert v4l2.open_controls(str(tmp_path / "none")) is None
