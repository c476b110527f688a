from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartbin.errors import ImageError
from smartbin.preprocess import PreprocessSpec, centre_crop, resize_square, shrink_frame, stack_inputs, to_input
from tests.conftest import draw_photo


@given(st.integers(1, 900), st.integers(1, 900), st.floats(1, 4), st.floats(0.2, 1))
@settings(max_examples=80, deadline=None)
def test_crop_is_central_and_within_the_aspect(height: int, width: int, max_aspect: float, crop: float) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    cropped = centre_crop(image, max_aspect, crop)
    new_height, new_width = cropped.shape[:2]
    assert 1 <= new_height <= height
    assert 1 <= new_width <= width
    assert abs(new_height - min(height, width * max_aspect) * crop) <= 1
    assert abs(new_width - min(width, height * max_aspect) * crop) <= 1


def test_the_whole_of_a_4_to_3_photo_is_seen() -> None:
    image = np.zeros((384, 512, 3), np.uint8)
    assert centre_crop(image, 4 / 3, 1.0).shape == image.shape


def test_red_comes_first_and_the_size_is_the_specs() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[..., 2] = 200  # BGR: red
    image[..., 1] = 130
    found = to_input(image, PreprocessSpec(size=32)).image
    assert found.shape == (32, 32, 3)
    assert tuple(found[5, 5]) == (200, 130, 0)


def test_shrinking_averages_so_that_fine_texture_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = to_input(stripes, PreprocessSpec(size=64)).image
    assert small.min() > 100
    assert small.max() < 160


@pytest.mark.parametrize(("height", "width"), [(720, 960), (1081, 1443), (600, 600), (500, 400), (450, 1700)])
def test_camera_frames_are_shrunk_as_in_one_step(height: int, width: int) -> None:
    frame = np.asarray(cv2.resize(draw_photo(3, 120, 160), (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    quick, exact = (way(frame, 224).astype(float) for way in (shrink_frame, resize_square))
    assert np.abs(quick - exact).mean() < 1
    assert np.abs(quick.mean(axis=(0, 1)) - exact.mean(axis=(0, 1))).max() < 0.2  # pairs are rounded up
    speckles = np.random.default_rng(0).integers(0, 256, frame.shape, np.uint8)
    quick, exact = (way(speckles, 224).astype(float) for way in (shrink_frame, resize_square))
    assert quick.std() < 1.5 * exact.std()  # bilinear in one step: 2.5, what is finer than a pixel aliases


def test_enlarging_works() -> None:
    assert to_input(draw_photo(1, 20, 20), PreprocessSpec(size=224)).image.shape == (224, 224, 3)


def test_batch_keeps_the_order() -> None:
    spec = PreprocessSpec(size=32)
    inputs = [to_input(draw_photo(seed), spec) for seed in (1, 2, 3)]
    batch = stack_inputs(inputs)
    assert batch.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(batch[1], inputs[1].image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["grey", "four channels", "float", "empty"],
)
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ImageError, match="not a colour image"):
        to_input(image, PreprocessSpec(size=32))
