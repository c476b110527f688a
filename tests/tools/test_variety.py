"""Random settings for pictures to train on; the renderer itself is not needed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PIL")

from tools.render_scene.variety import random_ground, random_look


def test_same_seed_same_look_other_seed_another() -> None:
    first, again, other = random_look(3), random_look(3), random_look(4)
    assert (first.view, first.lamps, first.turn_degrees) == (again.view, again.lamps, again.turn_degrees)
    np.testing.assert_array_equal(first.ground, again.ground)
    assert first.view != other.view
    assert (first.ground != other.ground).any()


def test_the_camera_looks_down_from_above_the_tray() -> None:
    for seed in range(50):
        eye = np.array(random_look(seed).view.eye)
        assert 36 <= np.linalg.norm(eye) <= 50
        assert eye[2] > 20  # above the walls


def test_grounds_differ_in_brightness_and_colour() -> None:
    grounds = [random_ground(np.random.default_rng(seed)) for seed in range(40)]
    assert {(ground.shape, ground.dtype) for ground in grounds} == {((512, 512, 3), np.dtype(np.uint8))}
    means = np.array([ground.mean(axis=(0, 1)) for ground in grounds])
    assert means.mean(axis=1).min() < 90
    assert means.mean(axis=1).max() > 180
    assert np.ptp(means, axis=1).max() > 40
