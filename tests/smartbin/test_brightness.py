from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from smartbin.brightness import BrightnessSettings, Exposure, correct, gamma_table, light_state, measure
from smartbin.lowlight import dim
from tests.conftest import draw_photo

DEFAULTS = BrightnessSettings()
images = st.builds(
    lambda seed, low, high, height, width: (
        np.random.default_rng(seed).integers(min(low, high), max(low, high) + 1, (height, width, 3)).astype(np.uint8)
    ),
    st.integers(0, 10_000),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(1, 400),
    st.integers(1, 400),
)


@given(images)
@settings(max_examples=60, deadline=None)
def test_in_band_the_same_array_comes_back_and_out_of_band_luma_moves_towards_the_band(image: np.ndarray) -> None:
    before = image.copy()
    corrected, exposure = correct(image, DEFAULTS)
    np.testing.assert_array_equal(image, before)  # never in place
    if DEFAULTS.low_luma <= exposure.mean_luma <= DEFAULTS.high_luma:
        assert corrected is image
        assert not exposure.corrected
    elif exposure.mean_luma < DEFAULTS.low_luma:
        assert DEFAULTS.min_gamma <= exposure.gamma <= 1
        assert measure(corrected).mean_luma <= DEFAULTS.target_luma + 0.02
        assert measure(corrected).mean_luma >= exposure.mean_luma
    else:
        assert 1 <= exposure.gamma <= DEFAULTS.max_gamma
        assert measure(corrected).mean_luma <= exposure.mean_luma


@given(images)
@settings(max_examples=30, deadline=None)
def test_correction_keeps_the_order_of_levels_and_hue_of_grey(image: np.ndarray) -> None:
    corrected, exposure = correct(image, DEFAULTS)
    table = gamma_table(exposure.gamma)
    assert (np.diff(table.astype(int)) >= 0).all()
    assert table[0] == 0
    assert table[255] == 255
    np.testing.assert_array_equal(corrected, table[image])


@pytest.mark.parametrize("light", [1 / 12, 1 / 16, 1 / 24])
def test_a_dimmed_photo_is_brought_to_the_target(light: float) -> None:
    dark = dim(draw_photo(4, 240, 320), light, np.random.default_rng(0))
    corrected, exposure = correct(dark, DEFAULTS)
    assert exposure.gamma < 1
    assert measure(corrected).mean_luma == pytest.approx(DEFAULTS.target_luma, abs=0.02)


def test_disabled_changes_nothing() -> None:
    dark = np.full((4, 4, 3), 8, np.uint8)
    assert correct(dark, BrightnessSettings(enabled=False))[0] is dark


@pytest.mark.parametrize(
    ("exposure", "state"),
    [
        (Exposure(0.01, 0.0), "too_dark"),
        (Exposure(0.02, 0.0), "ok"),
        (Exposure(0.99, 0.95), "too_bright"),
        (Exposure(0.9, 0.5), "ok"),
    ],
)
def test_light_state(exposure: Exposure, state: str) -> None:
    assert light_state(exposure, DEFAULTS) == state


def test_settings_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="too_dark_luma <= low_luma"):
        BrightnessSettings(low_luma=0.6, target_luma=0.5)
