from __future__ import annotations

import numpy as np
import pytest

from device.steady_light import SteadyGamma
from smartbin.brightness import BrightnessSettings, correct
from tests.device.staging import Bin, lit

SETTINGS = BrightnessSettings()
TRAY = Bin().empty()  # mean luma about .5


def gammas(scales, *, fps=30.0, smooth_s=0.15, noise=4.0):
    """Corrected pictures and their gammas, of frames under these lights."""
    steady, found = SteadyGamma(smooth_s), []
    for number, scale in enumerate(scales):
        image = lit(TRAY, scale, noise=noise, seed=number)
        out, exposure = correct(image, SETTINGS, lambda wanted, now_s=number / fps: steady.follow(now_s, wanted))
        found.append((image, out, exposure))
    return found


def changes(found):
    logs = np.log2([exposure.gamma for _, _, exposure in found])
    return np.abs(np.diff(logs))


def test_frames_in_band_are_untouched_whatever_came_before():
    found = gammas([0.2] * 10 + [1.0] * 3 + [0.2] * 5 + [0.9])
    for image, out, exposure in [*found[10:13], found[-1]]:
        assert out is image
        assert exposure.gamma == 1.0


def test_in_nearly_steady_light_the_gamma_does_not_move():
    """A lamp that flickers by two thousandths."""
    flickering = [0.25 * (1 + 0.002 * (-1) ** number) for number in range(40)]
    assert changes(gammas(flickering))[5:].max() == 0.0
    assert changes(gammas(flickering, smooth_s=0))[5:].max() > 0.0, "each for itself they do"


def test_a_hundredth_is_no_change():
    steady = SteadyGamma(0.15)
    steady.follow(0.0, 0.5)
    assert [steady.follow(number, 0.504) for number in (1.0, 2.0, 3.0)] == [0.5] * 3
    assert steady.follow(4.0, 0.51) == pytest.approx(0.51, abs=0.001)


@pytest.mark.parametrize(("fps", "every"), [(15.0, 1), (30.0, 1), (30.0, 2), (60.0, 1), (60.0, 5)])
@pytest.mark.parametrize("part", [0.04, 0.01])
def test_at_the_edge_of_the_band_it_does_not_flicker(fps, every, part):
    """The light wavers about the edge, where the correction by itself jumps from none to a lot."""
    edge = 0.25 / correct(TRAY, SETTINGS)[1].mean_luma
    wavering = [edge * (1 + part * (-1) ** (number // every)) for number in range(60)]
    assert changes(gammas(wavering, smooth_s=0, fps=fps)).max() > 0.4, "by itself"
    assert changes(gammas(wavering, fps=fps)).max() == 0.0


def test_at_the_edge_the_light_that_stays_below_is_followed_after_a_moment():
    edge = 0.25 / correct(TRAY, SETTINGS)[1].mean_luma
    found = [exposure.gamma for _, _, exposure in gammas([1.1 * edge] * 5 + [0.9 * edge] * 20, noise=0.0)]
    assert found[:7] == [1.0] * 7
    wanted = correct(lit(TRAY, 0.9 * edge, noise=0.0), SETTINGS)[1].gamma
    assert found[-1] == pytest.approx(wanted, rel=0.05)


def test_at_hundreds_of_frames_a_second_it_follows_as_far():
    """Steps smaller than a thousandth must add up."""
    steady = SteadyGamma(0.15)
    steady.follow(0.0, 0.3)
    for number in range(1, 2001):
        found = steady.follow(number / 1000, 0.25)
    assert found == pytest.approx(0.25, rel=0.013)


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
@pytest.mark.parametrize(("before", "after"), [(1.0, 0.2), (0.4, 0.1), (0.1, 0.4)])
def test_a_sudden_change_is_followed_within_half_a_second(fps, before, after):
    frames = round(0.5 * fps) + 1
    found = gammas([before] * 10 + [after] * frames, fps=fps, noise=0.0)
    wanted = correct(lit(TRAY, after, noise=0.0), SETTINGS)[1].gamma
    assert found[-1][2].gamma == pytest.approx(wanted, rel=0.05)


def test_a_change_comes_in_steps_not_in_one():
    found = gammas([0.4] * 5 + [0.1] * 20, noise=0.0)
    assert changes(found).max() < 0.5 * abs(np.log2(found[4][2].gamma / found[-1][2].gamma))


def test_the_first_frame_and_the_first_of_another_view_are_taken_at_their_word():
    steady = SteadyGamma(0.15)
    assert steady.follow(0.0, 0.5) == 0.5
    assert steady.follow(0.01, 0.8) < 0.6
    steady.forget()
    assert steady.follow(0.02, 0.8) == 0.8


def test_after_a_long_gap_nothing_of_the_old_light_is_left():
    steady = SteadyGamma(0.15)
    steady.follow(0.0, 0.3)
    assert steady.follow(10.0, 0.9) == pytest.approx(0.9, abs=0.001)


def test_time_that_stands_still_or_goes_back_changes_nothing():
    steady = SteadyGamma(0.15)
    steady.follow(5.0, 0.3)
    assert steady.follow(5.0, 0.9) == 0.3
    assert steady.follow(4.0, 0.9) == 0.3
