"""The camera-noise model: darkens in linear light, adds the noise of its sensor, repeats with its seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartbin.errors import ImageError
from smartbin.lowlight import FULL_WELL_E, dim


def _linear(code: float) -> float:
    return float(((code / 255 + 0.055) / 1.055) ** 2.4)


def _flat(code: int) -> np.ndarray:
    return np.full((128, 128, 3), code, np.uint8)


@pytest.mark.parametrize("light", [1.0, 0.5, 0.25, 1 / 16])
def test_linear_light_falls_as_asked(light: float) -> None:
    dimmed = dim(_flat(180), light, np.random.default_rng(0))
    mean = np.mean([_linear(code) for code in dimmed.ravel()[:4000]])
    assert mean == pytest.approx(_linear(180) * light, rel=0.05)


def test_shot_noise_has_the_variance_of_the_electrons() -> None:
    dimmed = dim(_flat(200), 1.0, np.random.default_rng(0), read_noise_e=0.0)
    electrons = np.asarray([_linear(code) for code in range(256)])[dimmed] * FULL_WELL_E
    assert electrons.var() == pytest.approx(electrons.mean(), rel=0.1)


def test_the_same_seed_gives_the_same_photo_and_the_original_is_untouched() -> None:
    image = _flat(120)
    first, second = (dim(image, 0.3, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (image == 120).all()


@given(light=st.floats(0.01, 1.0), code=st.integers(0, 255))
def test_less_light_is_never_brighter(light: float, code: int) -> None:
    dimmed = dim(np.full((16, 16, 3), code, np.uint8), light, np.random.default_rng(0))
    assert dimmed.dtype == np.uint8
    assert dimmed.mean() <= code + 13  # the noise of a black pixel, cut off at zero, lifts its mean


@pytest.mark.parametrize("light", [0.0, -1.0, 1.5, float("nan")])
def test_an_impossible_light_is_refused(light: float) -> None:
    with pytest.raises(ImageError, match="light"):
        dim(_flat(1), light, np.random.default_rng(0))


def test_an_image_of_another_form_is_refused() -> None:
    with pytest.raises(ImageError, match="dim this image"):
        dim(np.zeros((4, 4), np.uint8), 0.5, np.random.default_rng(0))
