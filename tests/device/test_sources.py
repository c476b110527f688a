from __future__ import annotations

from pathlib import Path

import pytest

from device.sources import (
    CsiSource,
    DeviceSource,
    PhotoSource,
    RtspSource,
    SceneSource,
    VideoSource,
    parse_source,
)
from smartbin.errors import ConfigError


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("camera:0", DeviceSource("/dev/video0")),
        ("camera:12", DeviceSource("/dev/video12")),
        ("usb:1", DeviceSource("/dev/video1")),
        ("/dev/video3", DeviceSource("/dev/video3")),
        ("v4l2:///dev/video3", DeviceSource("/dev/video3")),
        ("/dev/v4l/by-id/usb-Logi_C270-video-index0", DeviceSource("/dev/v4l/by-id/usb-Logi_C270-video-index0")),
        ("csi:0", CsiSource(0)),
        ("csi://1", CsiSource(1)),
        ("rtsp://cam.local:554/live", RtspSource("rtsp://cam.local:554/live")),
        ("scene", SceneSource()),
        (" scene ", SceneSource()),
        ("scene:/somewhere", SceneSource(Path("/somewhere"))),
    ],
)
def test_forms(uri, expected):
    assert parse_source(uri) == expected


def test_paths_are_told_apart_by_what_is_there(tmp_path):
    (tmp_path / "clip.MP4").write_bytes(b"x")
    (tmp_path / "can.jpg").write_bytes(b"x")
    assert parse_source(str(tmp_path)) == PhotoSource(tmp_path)
    assert parse_source(str(tmp_path / "clip.MP4")) == VideoSource(tmp_path / "clip.MP4")
    assert parse_source(f"file://{tmp_path / 'can.jpg'}") == PhotoSource(tmp_path / "can.jpg")


@pytest.mark.parametrize(
    "uri", ["", "camera", "camera:x", "camera:-1", "csi", "webcam", "http://host/x.mjpg", "rtsp:///x"]
)
def test_unknown_forms_name_the_known_ones(uri):
    with pytest.raises(ConfigError) as caught:
        parse_source(uri)
    assert "rtsp://HOST" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_is_said_to_be_missing():
    with pytest.raises(ConfigError, match="no such file"):
        parse_source("/nowhere/clip.mp4")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="neither a video nor a photo"):
        parse_source(str(tmp_path / "notes.txt"))


def test_passwords_are_not_printed():
    source = parse_source("rtsp://user:secret@cam.local/live")
    assert str(source) == "rtsp://cam.local/live"
    assert "secret" not in repr(source)
    assert isinstance(source, RtspSource)
    assert "secret" in source.url


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("rtsp://cam/live?channel=1&token=hush", "rtsp://cam/live?channel=1&token=***"),
        ("rtsp://cam/?user=me&Password=hu_sh&stream=0", "rtsp://cam/?user=me&Password=***&stream=0"),
        ("rtsp://cam/user=me&pwd=hush/0.sdp", "rtsp://cam/user=me&pwd=***/0.sdp"),
        ("rtsp://cam:554/h264?channel=1&subtype=0", "rtsp://cam:554/h264?channel=1&subtype=0"),
    ],
)
def test_passwords_in_the_path_are_not_printed_either(url, printed):
    assert str(parse_source(url)) == printed
    assert str(parse_source(f"test://{url.partition('?')[0]}")).endswith(printed.partition("?")[0])
