"""Stories: which decisions get a picture, and which frame of the item it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device.decision import Decision
from device.events import FrameView
from device.presence import PresenceReading
from device.samples.fingerprint import difference, fingerprint
from device.samples.picker import Picker
from device.samples.quota import Quota
from device.scene import builtin_scene_path, read_story
from smartbin.brightness import Exposure
from smartbin.images import read_image
from smartbin.prediction import make_prediction
from tests.device.staging import Bin, lit

CLASSES = ("glass", "metal", "paper")
EXPOSURE = Exposure(0.4, 0.0)
GUESS = make_prediction((0.5, 0.3, 0.2), -1.0, CLASSES)


def view(state, sharpness=1.0, *, judged=True, image=None) -> FrameView:
    reading = PresenceReading(True, True)
    picture = image if image is not None else np.zeros((4, 4, 3), np.uint8)
    guess = GUESS if judged else None
    return FrameView(picture, 1, "camera:0", state, 1, "ok", EXPOSURE, reading, guess, 30.0, (), sharpness)


def decision(kind="uncertain", item=1) -> Decision:
    return Decision(kind, "glass", 0.5, "general", item, 3, 1.0, 1.5, EXPOSURE, GUESS)


class Draws:
    """A random generator that draws as told."""

    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0)


def test_the_sharpest_judged_frame_of_the_item_is_kept():
    picker = Picker(0.0)
    views = [view("JUDGING", 0.3), view("JUDGING", 0.9), view("JUDGING", 0.5)]
    assert [picker.frame(one) for one in views] == [None] * 3
    picker.decided(decision(), 7, 123)
    picked = picker.frame(view("DECIDED", 0.4))
    assert picked.image is views[1].image, "handed over, not copied"
    assert (picked.seq, picked.time_ms, picked.reason, picked.share) == (7, 123, "uncertain", 1.0)
    assert picker.frame(view("DECIDED", 1.0)) is None, "once a decision"


@pytest.mark.parametrize("judged", [True, False])
def test_of_a_picture_the_part_that_was_looked_at_is_kept(judged):
    """What is trained on is to look like what is judged: without the wall beside the bin."""
    whole = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    picker = Picker(0.0)
    picker.decided(decision(), 1, 0)
    picked = picker.frame(replace(view("DECIDED", judged=judged, image=whole), region=(0.5, 0.0, 0.5, 1.0)))
    assert np.array_equal(picked.image, whole[:, 2:])


def test_the_deciding_frame_counts_too():
    picker = Picker(0.0)
    picker.frame(view("JUDGING", 0.3))
    picker.decided(decision(), 1, 0)
    last = view("DECIDED", 0.8)
    assert picker.frame(last).image is last.image


def test_a_frame_that_was_not_judged_is_taken_only_if_there_is_no_other():
    picker = Picker(0.0)
    picker.decided(decision(), 1, 0)
    only = view("DECIDED", 0.8, judged=False)
    assert picker.frame(only).image is only.image
    judged = view("JUDGING", 0.2)
    picker.frame(judged)
    picker.frame(view("JUDGING", 0.9, judged=False))
    picker.decided(decision(), 2, 0)
    assert picker.frame(view("DECIDED", 0.9, judged=False)).image is judged.image


def test_a_frame_of_the_last_item_is_forgotten():
    picker = Picker(0.0)
    picker.frame(view("JUDGING", 1.0))
    picker.frame(view("EMPTY", judged=False))
    own = view("JUDGING", 0.1)
    picker.frame(own)
    picker.decided(decision(), 2, 0)
    assert picker.frame(view("DECIDED", 0.1, judged=False)).image is own.image


def test_each_photo_of_a_folder_is_its_own_picture():
    picker, views = Picker(0.0), [view("WATCHING"), view("WATCHING")]
    for seq, one in enumerate(views):
        picker.decided(decision(), seq, 0)
        assert picker.frame(one).image is one.image


def test_a_decision_after_the_last_frame_has_its_picture():
    picker = Picker(0.0)
    held = view("JUDGING")
    picker.frame(held)
    picker.decided(decision(), 4, 0)
    assert picker.finish().image is held.image
    assert picker.finish() is None


def test_accepted_ones_are_drawn():
    picker = Picker(0.25, Draws(0.24, 0.25, 0.9))
    kept = []
    for seq in range(3):
        picker.decided(decision("accepted"), seq, 0)
        kept.append(picker.frame(view("WATCHING")))
    assert [one and (one.reason, one.share) for one in kept] == [("random", 0.25), None, None]


@pytest.mark.parametrize("kind", ["too_dark", "too_bright"])
def test_of_bad_light_there_is_nothing_to_see(kind):
    picker = Picker(1.0)
    picker.decided(decision(kind), 1, 0)
    assert picker.frame(view("WATCHING", judged=False)) is None


class TestQuota:
    def test_a_minute_an_hour_a_day(self):
        quota = Quota(per_minute=2, per_hour=3, per_day=4)
        taken = []
        for now_s in range(0, 90_000, 10):
            if quota.allows(now_s):
                quota.take(now_s)
                taken.append(now_s)
        assert taken[:4] == [0, 10, 60, 3600]
        assert taken[4:] == [86_400, 86_410, 86_460]

    def test_it_remembers_what_was_taken_before(self):
        quota = Quota(per_minute=9, per_hour=9, per_day=2, taken_s=[-80_000.0, -10.0])
        assert not quota.allows(0.0)
        assert quota.allows(6401.0)


class TestFingerprint:
    def test_noise_and_a_little_less_light_make_no_other_picture(self):
        image = Bin(width=320, height=240).holding("red")
        same = lit(image, 0.8, noise=3.0)
        assert difference(fingerprint(image), fingerprint(same)) < 0.12

    def test_the_scenes_items_are_apart_and_each_is_like_itself(self):
        """The threshold's reason: every pair of frames of the built-in scene in which something lies still."""
        items: dict[str, list[int]] = {}
        for told in read_story(builtin_scene_path()).frames:
            if told.phase == "staying":
                items.setdefault(told.item, []).append(fingerprint(read_image(builtin_scene_path() / told.file)))
        for name, prints in items.items():
            assert max(difference(one, other) for one in prints for other in prints) < 0.12
            others = [one for other, held in items.items() if other != name for one in held]
            assert min(difference(one, other) for one in prints for other in others) > 0.12
