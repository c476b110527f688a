from __future__ import annotations

import itertools
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.clock import ManualClock
from device.config import SourceSettings
from device.opening import open_camera, plays_in_real_time
from device.photo_camera import FolderCamera
from device.playback import Playback
from device.scene import SceneCamera, builtin_scene_path, read_story
from device.sources import PhotoSource, SceneSource, VideoSource
from device.video_file import VideoFileCamera
from smartbin.errors import CameraError, ConfigError
from tests.device.staging import FakeCapture


class TestVideoFile:
    @pytest.fixture
    def video(self, tmp_path):
        path = tmp_path / "clip.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
        assert writer.isOpened()
        for level in range(0, 250, 25):
            writer.write(np.full((48, 64, 3), level, np.uint8))
        writer.release()
        return path

    def test_every_frame_in_the_videos_own_time(self, video):
        camera = VideoFileCamera(video, 50.0)
        frames = list(iter(camera.read, None))
        camera.close()
        assert [frame.seq for frame in frames] == list(range(1, 11))
        assert [frame.captured_s for frame in frames[:3]] == pytest.approx([50.0, 50.05, 50.10])
        assert [int(frame.image.mean()) for frame in frames] == pytest.approx(list(range(0, 250, 25)), abs=3)

    def test_no_video(self, tmp_path, capfd):
        (tmp_path / "clip.mp4").write_bytes(b"this is no video")
        with pytest.raises(CameraError, match="cannot read the video"):
            VideoFileCamera(tmp_path / "clip.mp4")
        capfd.readouterr()

    def test_a_video_without_frames(self, tmp_path):
        capture = FakeCapture([])
        with pytest.raises(CameraError, match="no frame"):
            VideoFileCamera(tmp_path / "x.mp4", opener=capture.open).read()


class TestFolder:
    def test_natural_order_and_truth_by_folder(self, colour_folder):
        camera = FolderCamera(colour_folder, ("red", "green"))
        frames = list(iter(camera.read, None))
        assert [Path(frame.origin).name for frame in frames[:3]] == ["blue1.jpg", "blue2.jpg", "blue10.jpg"]
        assert [frame.truth for frame in frames] == [None] * 3 + ["green"] * 3 + ["red"] * 3

    def test_unreadable_photos_are_said_and_skipped(self, colour_folder, caplog):
        (colour_folder / "green" / "green5.jpg").write_bytes(b"no photo")
        camera = FolderCamera(colour_folder)
        assert len(list(iter(camera.read, None))) == 9
        assert camera.unreadable == 1
        assert "green5.jpg" in caplog.text

    def test_a_single_photo(self, colour_folder):
        camera = FolderCamera(colour_folder / "red" / "red1.jpg")
        assert camera.read() is not None
        assert camera.read() is None

    def test_no_photos(self, tmp_path):
        with pytest.raises(CameraError, match="no photos"):
            FolderCamera(tmp_path)

    def test_none_readable(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"x")
        with pytest.raises(CameraError, match="none of the photos"):
            FolderCamera(tmp_path).read()


class TestScene:
    def test_plays_the_story(self, story):
        camera = SceneCamera(story, 10.0)
        frames = list(iter(camera.read, None))
        held = sum(3 for told in camera.story.frames if told.phase == "empty")
        assert len(frames) == len(camera.story.frames) + held
        assert frames[0].truth is None
        assert {frame.truth for frame in frames} == {None, "red", "green"}
        assert frames[1].captured_s - frames[0].captured_s == pytest.approx(0.1)

    def test_a_missing_picture(self, story):
        (story / "frame000.jpg").unlink()
        with pytest.raises(CameraError, match="incomplete"):
            SceneCamera(story).read()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not JSON"),
            ('{"schema": 2}', "does not fit"),
            ('{"schema":1,"fps":10,"width":9,"height":9,"frames":[]}', "does not fit"),
            (
                '{"schema":1,"fps":10,"width":9,"height":9,"frames":[{"file":"../x.jpg","view":"a","light":"b",'
                '"light_scale":1,"phase":"empty"}]}',
                "does not fit",
            ),
        ],
    )
    def test_broken_stories(self, tmp_path, content, message):
        (tmp_path / "story.json").write_text(content)
        with pytest.raises(ConfigError, match=message):
            SceneCamera(tmp_path)

    def test_no_story(self, tmp_path):
        with pytest.raises(ConfigError, match="no scene here"):
            SceneCamera(tmp_path)

    def test_the_built_in_scene_is_whole(self):
        if not (builtin_scene_path() / "story.json").is_file():
            pytest.skip("device/scene/story.json has not been rendered")
        told = read_story(builtin_scene_path())
        assert len(told.frames) >= 60
        camera = SceneCamera()
        frames = list(iter(camera.read, None))
        assert {frame.origin for frame in frames} == {str(builtin_scene_path() / frame.file) for frame in told.frames}
        assert sum(path.stat().st_size for path in builtin_scene_path().iterdir()) <= 5_000_000


class TestPlayback:
    def test_paced_playback_waits_for_the_time_of_each_frame(self, story):
        clock = ManualClock(100.0)
        camera = Playback(lambda start_s: SceneCamera(story, start_s), clock, threading.Event(), paced=True)
        frames = list(iter(camera.read, None))
        assert clock.now_s() == pytest.approx(frames[-1].captured_s)
        assert clock.now_s() == pytest.approx(100.0 + (len(frames) - 1) / 10)

    def test_fast_playback_does_not_wait(self, story):
        clock = ManualClock()
        camera = Playback(lambda start_s: SceneCamera(story, start_s), clock, threading.Event())
        assert len(list(iter(camera.read, None))) > 20
        assert not clock.waits_s

    def test_a_loop_goes_on_in_number_and_time_until_stopped(self, story):
        stop = threading.Event()
        camera = Playback(lambda start_s: SceneCamera(story, start_s), ManualClock(), stop, loop=True)
        length = len(list(iter(SceneCamera(story).read, None)))
        frames = [camera.read() for _ in range(2 * length + 3)]
        assert [frame.seq for frame in frames] == list(range(1, 2 * length + 4))
        assert all(late.captured_s > early.captured_s for early, late in itertools.pairwise(frames))
        stop.set()
        assert len(list(iter(camera.read, None))) == length - 3

    def test_stop_ends_the_wait(self, story):
        stop = threading.Event()
        stop.set()
        camera = Playback(lambda start_s: SceneCamera(story, start_s), ManualClock(), stop, paced=True)
        assert camera.read() is None


@pytest.mark.parametrize(
    ("source", "pace", "real"),
    [
        (SceneSource(), "auto", True),
        (SceneSource(), "fast", False),
        (VideoSource(Path("x.mp4")), "auto", False),
        (VideoSource(Path("x.mp4")), "real", True),
        (PhotoSource(Path("x")), "real", False),
    ],
)
def test_pace(source, pace, real):
    assert plays_in_real_time(source, SourceSettings(pace=pace)) is real


def test_opening_by_source(story, colour_folder):
    stop, clock = threading.Event(), ManualClock()
    for source in (SceneSource(story), PhotoSource(colour_folder)):
        camera = open_camera(source, SourceSettings(), ("red",), clock, stop)
        assert not camera.live
        assert camera.read() is not None
        camera.close()
