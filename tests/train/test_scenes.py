"""Items cut out of photos and pasted into scenes: the masks, what is refused, that labels stay true, seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from smartbin.images import BgrImage, LabelledPhoto
from tests.train.test_run import assert_same_weights
from train.augmentation.backgrounds import _KINDS, background
from train.augmentation.cutout import board_of, cut_out
from train.augmentation.scenes import Scenes, compose, prepare_scenes
from train.cache.reading import PhotoStore
from train.run import main

RED, BLUE = (40, 40, 200), (200, 60, 30)


def board(height: int = 120, width: int = 160, seed: int = 0) -> NDArray[np.float64]:
    """A grey board under a lamp, with noise."""
    y, x = np.mgrid[0:height, 0:width]
    lamp = 200 - 40 * ((x / width - 0.3) ** 2 + (y / height - 0.4) ** 2)
    return lamp[..., None] + np.random.default_rng(seed).normal(0, 2, (height, width, 3))


def photo(colour: tuple[int, int, int] = RED, box: tuple[int, int, int, int] = (40, 30, 110, 90)) -> BgrImage:
    """An item of one colour, x0 y0 x1 y1, on the board."""
    image = board()
    image[box[1] : box[3], box[0] : box[2]] = colour
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def test_item_is_cut_out_along_its_outline() -> None:
    item, quality = cut_out(photo())
    assert item is not None
    assert quality.area == pytest.approx(70 * 60 / (160 * 120), rel=0.1)
    scale = 288 / 160
    assert item.alpha.shape == pytest.approx((60 * scale, 70 * scale), abs=8)
    solid = item.image[item.alpha == 255].astype(float)
    assert len(solid) > 0.85 * 70 * 60 * scale**2
    assert np.abs(solid - RED).max(axis=1).mean() < 4  # no board left in it
    assert item.alpha.max() == 255


@pytest.mark.parametrize(
    ("image", "flaw"),
    [
        (photo(box=(0, 0, 160, 60)), "cropped by the photo's border"),
        (photo(box=(80, 60, 84, 64)), "too small"),
        (np.clip(board(), 0, 255).astype(np.uint8), "nothing on the board"),
        (np.maximum(photo(box=(10, 20, 60, 90)), 0) * 1, "two pieces"),
        (photo(colour=(190, 192, 194)), "the board's own colour"),
        (np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8), "no board"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_masks_are_refused(image: BgrImage, flaw: str) -> None:
    if flaw == "two pieces":
        image[30:80, 100:150] = RED
    item, quality = cut_out(image)
    assert item is None
    assert not quality.good


def test_board_is_found_beside_an_item_at_the_border() -> None:
    found = board_of(photo(box=(0, 40, 60, 80)))
    assert np.abs(found - board()).max(axis=2).mean() < 3


@pytest.mark.parametrize("kind", list(_KINDS), ids=lambda kind: kind.__name__)
def test_backgrounds_fill_their_size_and_follow_their_seed(kind: Callable[..., NDArray[np.float32]]) -> None:
    first, again = (kind(50, 70, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (50, 70, 3)
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)


def test_backgrounds_differ() -> None:
    rng = np.random.default_rng(0)
    drawn = [background(40, 40, rng) for _ in range(40)]
    whites = sum(float(image.mean()) > 234 and float(image.std()) < 1 for image in drawn)
    assert 5 < whites < 25
    assert len({image.tobytes() for image in drawn}) > 20


@pytest.fixture
def scenes(tmp_path: Path) -> tuple[list[LabelledPhoto], Scenes]:
    """Red boxes and blue ones, and one photo of each class that cannot be cut out."""
    photos = []
    for label, colour in (("red", RED), ("blue", BLUE)):
        for number in range(4):
            cropped = number == 3
            image = photo(colour, (0, 0, 160, 70) if cropped else (30 + 5 * number, 30, 90, 80))
            path = tmp_path / f"{label}{number}.png"
            cv2.imwrite(str(path), image)
            photos.append(LabelledPhoto(path, label))
    return photos, prepare_scenes(photos, PhotoStore({}), 1.0)


def test_a_scene_holds_items_of_its_photos_class_only(scenes: tuple[list[LabelledPhoto], Scenes]) -> None:
    _, made = scenes
    assert sorted(made.cut_outs) == [0, 1, 2, 4, 5, 6]
    assert made.same_class[0] == (0, 1, 2)
    assert made.same_class[5] == (4, 5, 6)
    assert all(made.draw(index, 0) is None for index in (3, 7))  # without a cut-out it stays the photo


def test_scenes_follow_the_seed_and_the_probability(scenes: tuple[list[LabelledPhoto], Scenes]) -> None:
    _, always = scenes
    first, again, other = (always.draw(0, seed) for seed in (7, 7, 8))
    assert first is not None
    assert again is not None
    assert other is not None
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    half = Scenes(always.cut_outs, always.same_class, 0.5)
    drawn = sum(half.draw(0, seed) is not None for seed in range(200))
    assert 70 < drawn < 130
    never = Scenes(always.cut_outs, always.same_class, 0.0)
    assert all(never.draw(0, seed) is None for seed in range(50))


def test_the_item_is_seen_in_its_scene(scenes: tuple[list[LabelledPhoto], Scenes]) -> None:
    """Reddish pixels of a red box: many in nearly every scene, however it is turned, lit and placed."""
    _, made = scenes
    rng = np.random.default_rng(1)
    visible = 0
    for count in (1, 1, 1, 2, 3, 5, 9, 9, 4, 2):
        scene = compose([made.cut_outs[0]] * count, rng).astype(int)
        assert 180 < scene.shape[0] < 340
        red = (scene[..., 2] - scene[..., :2].max(axis=2)) > 80
        visible += float(red.mean()) > 0.04
    assert visible == 10


def write_boxes(root: Path) -> None:
    for label, colour in (("red", RED), ("blue", BLUE), ("green", (60, 180, 40))):
        (root / label).mkdir(parents=True)
        for number in range(12):
            image = photo(colour, (20 + 3 * number, 30 + number, 80 + 3 * number, 90))
            cv2.imwrite(str(root / label / f"{label}{number + 1}.png"), image)


def test_a_run_with_scenes_is_the_same_with_workers_and_another_without(
    train_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    root = tmp_path / "boxes"
    write_boxes(root)
    first = train_tiny("--paste", "0.7", name="first", data=root)
    assert_same_weights(first, train_tiny("--paste", "0.7", "--workers", "2", name="workers", data=root))
    plain = train_tiny(name="plain", data=root)
    with pytest.raises(AssertionError):
        assert_same_weights(first, plain)


def test_preview_takes_the_flags_that_its_refusals_name(
    tmp_path: Path, photo_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    preview = ["data", "preview", str(photo_folder({"glass": 6, "toys": 6})), "--out", str(tmp_path / "sheet.png")]
    assert main(preview) == 1
    assert "--classes any" in capsys.readouterr().err
    assert main([*preview, "--classes", "any", "--split", "published"]) == 1
    assert "--split seeded" in capsys.readouterr().err
    assert main([*preview, "--classes", "any", "--split", "seeded", "--columns", "2"]) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


@pytest.mark.parametrize("flags", [("--out", "sheet.jpg"), ("--columns", "0")])
def test_preview_refuses(photos: Path, flags: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["data", "preview", str(photos), *flags])
    assert "must " in capsys.readouterr().err


def test_preview_shows_every_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "boxes"
    write_boxes(root)
    out = tmp_path / "sheet.png"
    assert main(["data", "preview", str(root), "--columns", "5", "--out", str(out)]) == 0
    sheet = cv2.imread(str(out))
    assert sheet is not None
    assert sheet.shape == (3 * 3 * 96, 5 * 128, 3)
    assert "red: 5 of 5 cut out" in capsys.readouterr().out
