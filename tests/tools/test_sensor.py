from __future__ import annotations

import numpy as np
import pytest

from tools.render_scene.sensor import CameraModel, expose

GREY = np.full((64, 64, 3), 0.4, np.float32)


def test_less_light_is_darker_and_noisier_in_proportion() -> None:
    good, dim, dark = (expose(GREY, light=light, seed=1).astype(float) for light in (1.0, 0.25, 1 / 16))
    assert good.mean() > dim.mean() > dark.mean() > 0
    centre = np.s_[16:48, 16:48]
    assert dark[centre].std() / dark.mean() > dim[centre].std() / dim.mean() > good[centre].std() / good.mean()


def test_same_seed_same_picture_other_seed_other_noise() -> None:
    np.testing.assert_array_equal(expose(GREY, seed=3), expose(GREY, seed=3))
    assert (expose(GREY, seed=3) != expose(GREY, seed=4)).any()


def test_grey_stays_grey() -> None:
    means = expose(GREY, seed=0, camera=CameraModel(vignette=0.0)).reshape(-1, 3).mean(axis=0)
    assert np.ptp(means) < 4


@pytest.mark.parametrize("light", [0.0, -1.0])
def test_no_light_is_an_error(light: float) -> None:
    with pytest.raises(ValueError, match="light must be"):
        expose(GREY, light=light)


def test_other_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match="must be"):
        expose(np.zeros((4, 4), np.float32))
