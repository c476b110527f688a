"""Stories of stamps: how old a picture of a stream is, by a clock that is not ours."""

from __future__ import annotations

import pytest

from device.stream_clock import StreamClock

PAUSE_S = 0.04


def ages(pictures):
    """The ages of pictures, each the time at which it came and its stamp."""
    clock = StreamClock()
    return [now_s - clock.taken_s(now_s, stamp_s) for now_s, stamp_s in pictures]


def steady(seconds, *, rate=1.0, late_s=lambda number: 0.0, begin_s=1000.0):
    """A stream of 25 pictures a second, whose stamps run at `rate` and begin at 7."""
    return [(begin_s + n * PAUSE_S + late_s(n), 7.0 + n * PAUSE_S * rate) for n in range(round(seconds / PAUSE_S))]


def test_pictures_that_come_as_they_are_taken_are_new():
    assert max(ages(steady(60))) == pytest.approx(0.0, abs=1e-9)


def test_what_was_held_back_is_as_old_as_it_was_held():
    """A network stands still from second 20 to 23."""
    found = ages(steady(40, late_s=lambda n: max(0.0, 23.0 - n * PAUSE_S) if n * PAUSE_S >= 20 else 0.0))
    held = round(20 / PAUSE_S)
    assert found[held] == pytest.approx(3.0, abs=0.7)
    assert found[held + 50] == pytest.approx(1.0, abs=0.7)
    assert max(found[round(23.1 / PAUSE_S) :]) < 0.01
    assert max(found[:held]) < 0.01


def test_jitter_is_no_age_to_speak_of():
    assert max(ages(steady(30, late_s=lambda n: 0.03 * (n % 3)))) < 0.07


@pytest.mark.parametrize("rate", [0.999, 1.001, 0.92, 1.08])
def test_clocks_and_stamps_that_run_a_little_off_make_nothing_old(rate):
    assert max(ages(steady(600, rate=rate))) < 0.05


@pytest.mark.parametrize("rate", [0.0, 0.6, 2.0, -1.0])
def test_stamps_that_do_not_run_as_time_does_are_not_believed(rate):
    """A camera that writes 25 a second and sends 15, one without stamps, one whose stamps go back."""
    assert ages(steady(60, rate=rate)) == [0.0] * round(60 / PAUSE_S)


def test_a_clock_that_is_set_back_is_learned_anew():
    first = steady(20)
    again = steady(20, begin_s=1020.0, late_s=lambda n: 1.0 if n == 400 else 0.0)
    found = ages(first + again)
    assert max(found[: len(first) + 200]) == pytest.approx(0.0, abs=1e-9)
    assert found[len(first) + 400] == pytest.approx(1.0, abs=0.25)


def test_a_clock_that_is_set_forward_makes_nothing_old():
    ahead = [(now_s, stamp_s + 30.0) for now_s, stamp_s in steady(20, begin_s=1020.0)]
    shifted = [(now_s, stamp_s + 20.0) for now_s, stamp_s in ahead]
    assert max(ages(steady(20) + shifted)) < 0.01


def test_in_the_beginning_nothing_is_known():
    assert ages(steady(4, late_s=lambda n: 1.0 if n == 50 else 0.0)) == pytest.approx([0.0] * 100)
