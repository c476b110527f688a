from __future__ import annotations

import threading

import numpy as np
import pytest

from device.camera import ScriptedCamera
from device.clock import ManualClock
from device.config import SourceSettings
from device.frame import BadFrameError, Frame
from device.opening import CameraOpener, watch_limits
from device.playback import Playback
from device.sources import parse_source
from device.watched_camera import WatchedCamera, WatchLimits, is_torn, same_picture
from smartbin.errors import CameraError
from tests.device.staging import Bin, lit

TRAY = Bin()
NOISY = [lit(TRAY.empty(), 1.0, seed=seed) for seed in range(8)]


def watched(images, *, fps=10.0, limits=WatchLimits()):  # noqa: B008 - frozen
    frames = [Frame(image, number + 1, number / fps, "staged") for number, image in enumerate(images)]
    return WatchedCamera(ScriptedCamera(frames, live=True), limits)


def test_a_healthy_camera_passes_untouched():
    camera = watched(NOISY)
    frames = [camera.read() for _ in NOISY]
    assert all(frame.image is image for frame, image in zip(frames, NOISY, strict=True))
    assert [frame.captured_s for frame in frames] == pytest.approx([number / 10 for number in range(8)])


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((0, 0, 3), np.uint8), "empty"),
        (NOISY[1][..., 0], "channels"),
        (NOISY[1][..., :2], "channels"),
        (NOISY[1].astype(np.float32), "channels"),
        (NOISY[1][:60], "size"),
        (np.ascontiguousarray(NOISY[1].transpose(1, 0, 2)), "size"),
        (np.vstack([NOISY[1][:80], np.full((40, 160, 3), 128, np.uint8)]), "torn"),
        (np.vstack([NOISY[1][:80], np.full((40, 160, 3), (0, 154, 0), np.uint8)]), "torn"),
    ],
)
def test_an_unfit_frame_is_refused_and_the_next_one_taken(image, reason):
    camera = watched([NOISY[0], image, NOISY[2]])
    camera.read()
    with pytest.raises(BadFrameError) as caught:
        camera.read()
    assert caught.value.reason == reason
    assert camera.read().image is NOISY[2]


def test_the_size_is_that_of_the_opening():
    small = [image[:60] for image in NOISY]
    camera = watched(small)
    assert all(camera.read().image.shape == (60, 160, 3) for _ in small)


@pytest.mark.parametrize("level", [0, 255])
def test_black_bars_and_blown_out_floors_are_not_torn(level):
    assert not is_torn(np.vstack([NOISY[0][:80], np.full((40, 160, 3), level, np.uint8)]))
    assert not is_torn(np.full((120, 160, 3), 128, np.uint8)), "even all over is another matter"


def test_a_camera_whose_pictures_always_end_evenly_is_not_refused():
    evenly = [np.vstack([image[:80], np.full((40, 160, 3), 128, np.uint8)]) for image in NOISY]
    camera = watched(evenly)
    assert all(camera.read() is not None for _ in evenly)


class TestFrozen:
    def test_repeats_keep_the_time_of_the_first_and_end_in_a_lost_camera(self):
        camera = watched([NOISY[0], *[NOISY[1].copy() for _ in range(40)]])
        taken = [camera.read().captured_s for _ in range(31)]
        with pytest.raises(CameraError, match="frozen") as caught:
            camera.read()
        assert set(taken[1:]) == {0.1}, "so that no decision is made on old pictures"
        assert "3.0 s" in str(caught.value)

    def test_a_new_picture_ends_it(self):
        camera = watched([NOISY[0]] * 20 + [NOISY[1]] * 20)
        taken = [camera.read().captured_s for _ in range(40)]
        assert taken[19:21] == [0.0, 2.0]

    @pytest.mark.parametrize("level", [0, 1, 255])
    def test_a_dark_or_blinded_camera_may_repeat_itself(self, level):
        camera = watched([np.full((48, 64, 3), level, np.uint8) for _ in range(100)])
        assert [camera.read().captured_s for _ in range(100)][-1] == pytest.approx(9.9)

    def test_the_watch_can_be_turned_off(self):
        camera = watched([NOISY[0]] * 100, limits=WatchLimits(frozen_after_s=0))
        assert [camera.read().captured_s for _ in range(100)][-1] == pytest.approx(9.9)

    def test_an_unchanged_scene_from_the_network_is_fresh(self):
        camera = watched([NOISY[0]] * 100, limits=WatchLimits(frozen_after_s=30, repeats_age=False))
        assert [camera.read().captured_s for _ in range(100)][-1] == pytest.approx(9.9)

    def test_one_changed_pixel_is_another_picture(self):
        other = NOISY[0].copy()
        other[3, 5, 1] ^= 1
        assert same_picture(NOISY[0], NOISY[0].copy())
        assert not same_picture(NOISY[0], other)


def test_recordings_are_not_watched(story, colour_folder):
    """The scene holds its pictures, and two photos may be the same."""
    for uri in (f"scene:{story}", str(colour_folder)):
        camera = CameraOpener(parse_source(uri), SourceSettings(), (), ManualClock(), threading.Event())()
        assert isinstance(camera, Playback)
        camera.close()


@pytest.mark.parametrize(
    ("uri", "configured", "expected"),
    [
        ("camera:0", None, WatchLimits(3.0, repeats_age=True)),
        ("rtsp://host/x", None, WatchLimits(30.0, repeats_age=False)),
        ("test://scene", None, WatchLimits(3.0, repeats_age=True)),
        ("csi:0", 7.0, WatchLimits(7.0, repeats_age=True)),
        ("csi:0", 0.0, WatchLimits(0.0, repeats_age=True)),
    ],
)
def test_limits_by_kind_of_source(uri, configured, expected):
    settings = SourceSettings.model_validate({"reconnect": {"frozen_after_s": configured}})
    assert watch_limits(parse_source(uri), settings) == expected
