"""Stories: what is seen over time, and the decisions that fall. Ten frames a second unless a story says otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.decision import Decision, DecisionSettings, Observation, make_verdicts
from device.frame_judges import ContinuousJudge, FrameJudge, make_judge
from device.item_judge import ItemJudge
from smartbin.brightness import Exposure
from smartbin.errors import ConfigError
from smartbin.prediction import RejectThresholds, make_prediction

CLASSES = ("glass", "metal", "paper")
THRESHOLDS = RejectThresholds(min_confidence=0.6, max_energy=0.0)
LIGHT, DARK, BRIGHT = Exposure(0.5, 0.0), Exposure(0.01, 0.0), Exposure(0.98, 0.9)


def seen(glass: float, metal: float | None = None, *, energy: float = -5.0) -> object:
    metal = (1 - glass) / 2 if metal is None else metal
    return make_prediction((glass, metal, 1 - glass - metal), energy, CLASSES)


def look(present=True, still=True, light="ok", prediction=None, sharpness=1.0, truth=None) -> Observation:
    exposure = {"ok": LIGHT, "too_dark": DARK, "too_bright": BRIGHT}[light]
    return Observation(present, still, light, exposure, prediction, sharpness, truth)


E = look(present=False)  # the empty bin
G = look(prediction=seen(0.9))  # surely glass
M = look(prediction=seen(0.03, 0.95))  # surely metal
W = look(prediction=seen(0.5, 0.45))  # glass or metal, weakly
X = look(prediction=seen(0.9, energy=5.0))  # glass, says the softmax, but unlike anything known
B = look(still=False, prediction=seen(0.03, 0.03))  # a blur, which looks like paper
D = look(light="too_dark")
H = look(light="too_bright")


def judge(**changes: object) -> ItemJudge:
    chosen = DecisionSettings(**changes)
    return ItemJudge(chosen, make_verdicts(chosen, CLASSES, THRESHOLDS))


def play(story: list[Observation], machine=None, fps: float = 10.0) -> list[Decision]:
    """The decisions of a story; a frame gets its prediction only if the judge wants one, as in the pipeline."""
    machine = machine or judge()
    decisions = []
    for number, observation in enumerate(story):
        if observation.prediction is not None and not machine.wants_prediction(observation):
            observation = Observation(
                observation.present,
                observation.still,
                observation.light,
                observation.exposure,
                None,
                observation.sharpness,
                observation.truth,
            )
        if (decision := machine.update(number / fps, observation)) is not None:
            decisions.append(decision)
    return decisions


def short(decisions: list[Decision]) -> list[tuple[str, str | None]]:
    return [(decision.kind, decision.label) for decision in decisions]


GLASS, METAL = ("accepted", "glass"), ("accepted", "metal")

STORIES = [
    ("an empty bin says nothing", [E] * 50, []),
    ("one item, one decision", [E] * 5 + [G] * 20 + [E] * 10, [GLASS]),
    ("two items with a pause", [E] * 5 + [G] * 10 + [E] * 10 + [M] * 10 + [E] * 10, [GLASS, METAL]),
    ("a shadow that passes", [E] * 5 + [B] * 2 + [E] * 10, []),
    ("a single odd frame", [E] * 5 + [G] + [E] * 10, []),
    ("the hand shakes: gone for a frame while judging", [E] * 3 + [G, G, G, E, G, G, G] + [E] * 10, [GLASS]),
    (
        "the hand shakes after the decision",
        [E] * 3 + [G] * 10 + [E] * 2 + [G] * 5 + [E] * 2 + [G] * 5 + [E] * 10,
        [GLASS],
    ),
    ("comes back while clearing: the same item", [E] * 3 + [G] * 10 + [E] * 4 + [M] * 10 + [E] * 10, [GLASS]),
    ("a swap without a gap is one item: the answer never changes", [E] * 3 + [G] * 10 + [M] * 30 + [E] * 10, [GLASS]),
    ("blurred frames are not judged", [E] * 3 + [B] * 10 + [M] * 10 + [E] * 10, [METAL]),
    ("blurred frames between still ones are left out", [E] * 3 + [G, G, B, B, G, B, G, G] + [E] * 10, [GLASS]),
    ("a weak lead ends as unsure at the limit", [E] * 3 + [W] * 40 + [E] * 10, [("uncertain", "glass")]),
    ("a strange thing is unsure however confident", [E] * 3 + [X] * 40 + [E] * 10, [("uncertain", "glass")]),
    ("weak at first, then decisive", [E] * 3 + [W] * 3 + [G] * 9 + [E] * 10, [GLASS]),
    ("too dark: no guess", [E] * 3 + [D] * 40 + [E] * 10, [("too_dark", None)]),
    ("too bright: no guess", [E] * 3 + [H] * 40 + [E] * 10, [("too_bright", None)]),
    ("too dark, taken away early", [E] * 3 + [D] * 5 + [E] * 10, [("too_dark", None)]),
    ("dark at first, then light", [E] * 3 + [D] * 4 + [G] * 8 + [E] * 10, [GLASS]),
    ("light at first, then dark: judged by what was seen", [E] * 3 + [G] * 4 + [D] * 40 + [E] * 10, [GLASS]),
    ("an empty dark bin says nothing", [look(present=False, light="too_dark")] * 50, []),
    ("it never lies still: judged anyway", [E] * 3 + [B] * 80 + [E] * 10, [("accepted", "paper")]),
    ("taken away after one good look", [E] * 3 + [B, B, G] + [E] * 10, [GLASS]),
    ("there from the first frame", [G] * 10 + [E] * 10, [GLASS]),
    ("five in a row", [E] * 3 + ([G] * 8 + [E] * 8) * 5, [GLASS] * 5),
    ("dark in the middle", [E] * 3 + [G, G] + [D] * 6 + [G] * 6 + [E] * 10, [GLASS]),
    ("dark in the middle of the doubt", [E] * 3 + [W] * 4 + [D] * 4 + [W] * 20 + [E] * 10, [("uncertain", "glass")]),
    (
        "glaring, then dark: no guess, by what lasted longer",
        [E] * 3 + [H] * 3 + [D] * 8 + [E] * 10,
        [("too_dark", None)],
    ),
    ("only blurred frames, soon gone: nothing is said", [E] * 3 + [B] * 25 + [E] * 10, []),
    ("a shadow runs before the item", [E] * 3 + [B] * 2 + [E] + [B] * 2 + [G] * 10 + [E] * 10, [GLASS]),
    ("it stays for a minute", [E] * 3 + [G] * 600 + [E] * 10, [GLASS]),
    ("unsure of it for a minute", [E] * 3 + [W] * 600 + [E] * 10, [("uncertain", "glass")]),
    ("away for half a second: the same item", [E] * 3 + [G] * 10 + [E] * 6 + [M] * 10 + [E] * 10, [GLASS]),
    ("away for longer: another item", [E] * 3 + [G] * 10 + [E] * 7 + [M] * 10 + [E] * 10, [GLASS, METAL]),
    ("half out and back, over and over", [E] * 3 + [G] * 8 + ([B, E, E, B] + [G] * 4) * 6 + [E] * 10, [GLASS]),
    ("presence flickers while it comes in", [E] * 3 + [B, E, B, E, B] + [G] * 10 + [E] * 10, [GLASS]),
    ("a shadow after the item has been cleared", [E] * 3 + [G] * 10 + [E] * 8 + [B] * 2 + [E] * 10, [GLASS]),
    ("a shadow while clearing puts off the next item", [E] * 3 + [G] * 10 + ([E] * 4 + [B]) * 4 + [E] * 10, [GLASS]),
]


@pytest.mark.parametrize(("story", "expected"), [row[1:] for row in STORIES], ids=[row[0] for row in STORIES])
def test_story(story, expected):
    assert short(play(story)) == expected


@pytest.mark.parametrize("fps", [5, 10, 15, 30, 60])
def test_an_item_is_one_decision_at_any_frame_rate(fps):
    story = [E] * fps + [B] * (fps // 5) + [G] * (2 * fps) + [B] * (fps // 5) + [E] * (2 * fps)
    assert short(play(story, fps=fps)) == [GLASS]


@pytest.mark.parametrize(("fps", "still_frames"), [(15, 1), (30, 2), (60, 5), (120, 10), (350, 30)])
def test_a_hand_that_turns_round_is_no_item(fps, still_frames):
    """Where it turns it stands still for a moment, in however many frames."""
    way = [B] * round(0.3 * fps)
    assert play([E] * 3 + way + [G] * still_frames + way + [E] * fps, fps=fps) == []


@pytest.mark.parametrize(("fps", "still_frames"), [(5, 1), (10, 1), (15, 2), (30, 3), (60, 6), (350, 32)])
def test_an_item_that_is_taken_away_early_is_judged_by_what_was_seen(fps, still_frames):
    way = [B] * round(0.4 * fps)
    assert short(play([E] * 3 + way + [G] * still_frames + way + [E] * fps, fps=fps)) == [GLASS]


@pytest.mark.parametrize("fps", [30, 120, 350])
def test_a_fast_camera_does_not_make_up_its_mind_sooner(fps):
    (decision,) = play([E] * 3 + [B] * round(0.2 * fps) + [G] * fps, fps=fps)
    still_s = decision.decided_s - decision.arrived_s - 0.2
    assert 0.06 < still_s < 0.11


def test_what_only_passed_is_not_counted():
    passing = [E] * 30 + [B] * 9 + [G] + [B] * 9 + [E] * 30
    machine = judge()
    assert play(passing * 3, machine, fps=30) == []
    assert machine.item == 0


def test_there_are_the_stories_that_were_asked_for():
    assert len({name for name, *_ in STORIES}) >= 25


BEFORE, AFTER = 0.6, 6.0  # seconds; in between the camera is lost


class TestCameraLost:
    """There are no frames for five seconds; what was seen before and after them is all that is known."""

    def play(self, before: list[Observation], after: list[Observation]) -> list[Decision]:
        machine, decisions = judge(), []
        for story, begin_s in ((before, BEFORE - len(before) / 10), (after, AFTER)):
            for number, observation in enumerate(story):
                if (decision := machine.update(begin_s + number / 10, observation)) is not None:
                    decisions.append(decision)
        return decisions

    def test_while_it_came_in_and_there_after(self):
        (decision,) = self.play([E] * 3 + [B] * 2, [G] * 8 + [E] * 10)
        assert short([decision]) == [GLASS]
        assert decision.arrived_s < BEFORE

    def test_while_it_came_in_and_gone_after(self):
        assert self.play([E] * 3 + [B] * 2, [E] * 10) == []

    def test_in_the_middle_and_there_after(self):
        (decision,) = self.play([E] + [W] * 5, [G] * 8 + [E] * 10)
        assert decision.decided_s == AFTER, "time is up, and what is known is said at once"

    def test_in_the_middle_and_gone_after(self):
        (decision,) = self.play([E] + [W] * 5, [E] * 10)
        assert short([decision]) == [("uncertain", "glass")]

    def test_after_the_decision_the_item_is_taken_for_the_same_until_the_bin_was_seen_empty(self):
        assert short(self.play([G] * 6, [M] * 10 + [E] * 10)) == [GLASS]
        assert short(self.play([G] * 6, [E] * 8 + [M] * 10)) == [GLASS, METAL]


@pytest.mark.parametrize("start_s", [0.0, 1e9])
def test_only_differences_of_time_count(start_s):
    story = [E] * 3 + [B] * 2 + [G] * 10 + [E] * 10
    machine, decisions = judge(), []
    for number, observation in enumerate(story):
        if (decision := machine.update(start_s + number / 10, observation)) is not None:
            decisions.append((decision.label, round(decision.decided_s - start_s, 3)))
    assert decisions == [("glass", 0.7)]


def test_frames_of_one_moment_bring_time_no_further():
    """A clock that stands still: nothing is decided by time, and nothing fails."""
    machine = judge(decisive_margin=1.0, max_frames=100)
    assert [machine.update(5.0, observation) for observation in [E, W, W] * 20] == [None] * 60
    assert machine.state == "ARRIVING"


def test_the_states_in_order():
    machine = judge()
    states = ["EMPTY"]
    for number, observation in enumerate([E] * 3 + [B] * 2 + [W] * 15 + [E] * 10):
        machine.update(number / 10, observation)
        if machine.state != states[-1]:
            states.append(machine.state)
    assert states == ["EMPTY", "ARRIVING", "JUDGING", "DECIDED", "CLEARING", "EMPTY"]


def test_probabilities_are_averaged_not_votes():
    """Three weak votes for glass against two sure ones for metal: the mean is metal, the majority is not."""
    story = [E, look(still=False)] * 1 + [look(still=False)] * 2
    story += [look(prediction=seen(0.51, 0.48))] * 3 + [look(prediction=seen(0.01, 0.98))] * 2 + [E] * 10
    (decision,) = play(story, judge(decisive_margin=1.0))
    assert decision.frames == 5
    assert decision.label == "metal"
    assert decision.confidence == pytest.approx((3 * 0.48 + 2 * 0.98) / 5)


def test_frames_that_are_much_less_sharp_are_left_out():
    soft = look(prediction=seen(0.03, 0.03), sharpness=0.1)
    (decision,) = play([E] * 2 + [G, G, soft, soft, soft, G, G] + [E] * 10, judge(decisive_margin=1.0))
    assert decision.frames == 4 - 1, "the first still frame came before the item counted as one"
    assert decision.label == "glass"


def test_an_early_answer_is_quick_and_a_late_one_in_time():
    (early,) = play([E] * 5 + [G] * 40)
    assert early.decided_s - early.arrived_s <= 0.5
    (late,) = play([E] * 5 + [W] * 100, judge(max_frames=1000))
    assert 2.0 <= late.decided_s - late.arrived_s <= 2.5


def test_the_decision_carries_what_is_known():
    (decision,) = play([E] * 5 + [look(prediction=seen(0.9), truth="glass")] * 10)
    assert decision.item == 1
    assert decision.bin == "glass"
    assert decision.exposure == LIGHT
    assert decision.prediction is not None
    assert decision.right is True
    assert play([E] * 5 + [look(prediction=seen(0.9), truth="metal")] * 10)[0].right is False


def test_item_numbers_count_judged_items_only():
    decisions = play([E] * 3 + [B] * 2 + [E] * 10 + [G] * 10 + [E] * 10 + [B] * 2 + [E] * 10 + [M] * 10)
    assert [decision.item for decision in decisions] == [1, 2]


def test_only_frames_that_could_matter_are_classified():
    machine = judge()
    assert not machine.wants_prediction(E)
    assert not machine.wants_prediction(G), "the first frame of an item is not yet an item"
    play([E, G], machine)
    assert machine.wants_prediction(G)
    assert not machine.wants_prediction(B)
    assert not machine.wants_prediction(D)
    play([G] * 10, machine)
    assert machine.state == "DECIDED"
    assert not machine.wants_prediction(G)


def test_a_recording_that_ends_with_an_item_still_answers():
    machine = judge(decisive_margin=1.0)
    assert play([E] * 3 + [G] * 6, machine) == []
    decision = machine.finish(1.0)
    assert decision is not None
    assert short([decision]) == [GLASS]
    assert judge().finish(0.0) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([E, G, M, W, X, B, D, H]), max_size=120), st.sampled_from([5.0, 10.0, 30.0]))
def test_never_two_decisions_without_an_empty_bin_between(story, fps):
    machine = judge()
    decided_at: int | None = None
    for number, observation in enumerate(story):
        if machine.update(number / fps, observation) is not None:
            if decided_at is not None:
                assert E in story[decided_at:number]
            decided_at = number


class TestBins:
    def test_classes_go_to_their_bins_and_doubt_to_general(self):
        machine = judge(bins={"glass": "recycling"})
        assert [decision.bin for decision in play([E] * 3 + [G] * 10 + [E] * 10 + [M] * 10 + [E] * 10, machine)] == [
            "recycling",
            "metal",
        ]
        assert play([E] * 3 + [W] * 40)[0].bin == "general"
        assert play([E] * 3 + [W] * 40, judge(bins={"uncertain": "landfill"}))[0].bin == "landfill"
        assert play([E] * 3 + [D] * 40, judge(uncertain_bin="rest"))[0].bin == "rest"

    def test_two_words_on_doubt_are_refused(self):
        with pytest.raises(ValueError, match="give one of them"):
            DecisionSettings(bins={"uncertain": "landfill"}, uncertain_bin="general")
        assert DecisionSettings(bins={"uncertain": "rest"}, uncertain_bin="rest").undecided_bin == "rest"

    def test_a_class_that_the_model_does_not_know_is_refused(self):
        with pytest.raises(ConfigError, match="does not know") as caught:
            judge(bins={"glas": "recycling"})
        assert caught.value.found == "glas"


class TestEveryFrame:
    def make(self):
        return FrameJudge(make_verdicts(DecisionSettings(), CLASSES, THRESHOLDS))

    def test_each_frame_is_an_item(self):
        decisions = play([G, M, W, D, H], self.make())
        assert short(decisions) == [GLASS, METAL, ("uncertain", "glass"), ("too_dark", None), ("too_bright", None)]
        assert [decision.item for decision in decisions] == [1, 2, 3, 4, 5]


class TestContinuous:
    def make(self, window=3):
        chosen = DecisionSettings(window=window)
        return ContinuousJudge(chosen, make_verdicts(chosen, CLASSES, THRESHOLDS))

    def test_an_answer_when_it_changes_and_only_then(self):
        decisions = play([G] * 10 + [M] * 10 + [G] * 10, self.make())
        labels = [decision.label for decision in decisions if decision.kind == "accepted"]
        assert labels == ["glass", "metal", "glass"]

    def test_darkness_is_said_once(self):
        assert short(play([G] * 5 + [D] * 10 + [G] * 5, self.make())) == [GLASS, ("too_dark", None), GLASS]

    def test_nothing_before_the_window_is_full(self):
        assert play([G] * 2, self.make()) == []


def test_modes():
    chosen = DecisionSettings()
    verdicts = make_verdicts(chosen, CLASSES, THRESHOLDS)
    assert isinstance(make_judge("item", chosen, verdicts), ItemJudge)
    assert isinstance(make_judge("continuous", chosen, verdicts), ContinuousJudge)
    assert isinstance(make_judge("every_frame", chosen, verdicts), FrameJudge)
