from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE, check_classes
from smartbin.errors import DataError, ImageError
from smartbin.images import decode_image, list_images, read_image
from tests.conftest import draw_photo


def test_reads_what_was_written(tmp_path: Path) -> None:
    image = draw_photo(1)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_grey_and_transparent_photos_become_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((5, 6), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((5, 6, 4), 90, np.uint8))
    assert read_image(tmp_path / "grey.png").shape == read_image(tmp_path / "alpha.png").shape == (5, 6, 3)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"not a picture at all", "not an image"),
        ("cut.jpg", bytes(cv2.imencode(".jpg", draw_photo(2))[1])[:-200], "truncated"),
        ("cut.png", bytes(cv2.imencode(".png", draw_photo(2))[1])[:-200], "truncated"),
    ],
)
def test_unreadable_photo_is_named_with_the_reason(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=says) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)


def test_missing_photo(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "absent.jpg")


def with_preview(jpeg: bytes) -> bytes:
    """The JPEG with a whole small JPEG in its metadata, as cameras write it."""
    preview = bytes(cv2.imencode(".jpg", draw_photo(4)[::4, ::4])[1])
    return jpeg[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + jpeg[2:]


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\0" * 100_000, b"\xff\xd8 a film"], ids=["short", "long", "pictures"])
@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_what_follows_the_end_of_a_photo_is_no_truncation(tail: bytes, flags: list[int]) -> None:
    jpeg = with_preview(bytes(cv2.imencode(".jpg", draw_photo(3), flags)[1]))
    png = bytes(cv2.imencode(".png", draw_photo(3))[1])
    for photo in (jpeg, png):
        np.testing.assert_array_equal(decode_image(photo + tail), decode_image(photo))


@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_cut_jpeg_is_truncated_whatever_its_metadata_hold(flags: list[int]) -> None:
    photo = with_preview(bytes(cv2.imencode(".jpg", draw_photo(3), flags)[1]))
    for length in range(20, len(photo) - 1, 7):
        with pytest.raises(ImageError, match="truncated"):
            decode_image(photo[:length])
        with pytest.raises(ImageError, match="truncated"):
            decode_image(photo[:length] + b"\0" * 5000)


def test_lists_photos_in_natural_order_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b10.jpg", "b2.JPG", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z1.png").write_bytes(b"x")
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == [
        "a/z1.png",
        "b2.JPG",
        "b10.jpg",
    ]
    with pytest.raises(ImageError, match="not a folder"):
        list_images(tmp_path / "absent")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["glass"], "too few"),
        ([], "too few"),
        (["glass", "glass"], "twice"),
        (["glass", " paper"], "unusable"),
        (["a", ""], "unusable"),
    ],
)
def test_class_lists_that_are_refused(names: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        check_classes(names)


def test_data_set_definitions_agree() -> None:
    assert check_classes(GARBAGE_CLASSES) == tuple(sorted(GARBAGE_CLASSES))
    assert set(RECYCLE_TO_GARBAGE.values()) <= set(GARBAGE_CLASSES)
