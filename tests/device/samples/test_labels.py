from __future__ import annotations

import random
from dataclasses import replace

import pytest

from device.samples.accuracy import estimate, live_accuracy
from device.samples.labels import Given, Sample, SampleBook
from smartbin.calibration import wilson_interval
from smartbin.errors import StoreError
from tests.device.samples.staged import bench, picture
from tests.device.store.rows import CLASSES, NOON_MS


@pytest.fixture
def stage(tmp_path):
    with bench(tmp_path) as made:
        yield made


@pytest.fixture
def book(stage):
    return SampleBook(stage.paths)


def test_pictures_wait_until_they_are_labelled(stage, book):
    for _ in range(5):
        stage.offer()
    assert [sample.id for sample in book.waiting()] == [5, 4, 3, 2, 1]
    assert [sample.id for sample in book.waiting(2, before=4)] == [3, 2]
    book.give(4, "class", "metal", now_ms=77)
    book.give(2, "skip")
    assert [sample.id for sample in book.waiting()] == [5, 3, 1]
    assert [(sample.id, sample.given.verdict) for sample in book.labelled()] == [(2, "skip"), (4, "class")]
    sample = book.sample(4)
    assert sample.given == Given("class", "metal", 77)
    assert (sample.guess, sample.confidence, sample.decision, sample.classes) == ("glass", 0.9, "uncertain", CLASSES)
    assert book.path(sample).is_file()


def test_the_newest_label_counts_and_the_others_stay(stage, book):
    stage.offer()
    for label in ("metal", "paper"):
        book.give(1, "class", label)
    assert book.sample(1).given.label == "paper"
    assert stage.store.connection.execute("SELECT label FROM labels ORDER BY id").fetchall() == [("metal",), ("paper",)]


def test_labels_that_cannot_be(stage, book):
    stage.offer()
    with pytest.raises(StoreError, match="no such picture"):
        book.give(9, "class", "glass")
    with pytest.raises(StoreError, match="no such class") as caught:
        book.give(1, "class", "gold")
    assert "glass, metal, paper" in str(caught.value)
    assert book.labelled() == []


def sample(number, *, guess="glass", label="glass", verdict="class", reason="random", share=0.1) -> Sample:
    given = Given(verdict, label if verdict == "class" else None, 0)
    kind = "accepted" if reason == "random" else "uncertain"
    return Sample(number, number, 0, reason, share, 0.0, "f", kind, guess, 0.9, CLASSES, "m", given, False, False)


def labelled(right, wrong, **options):
    rights = [sample(number, **options) for number in range(right)]
    return [*rights, *(sample(right + number, label="metal", **options) for number in range(wrong))]


class TestAccuracy:
    def test_drawn_ones_give_wilsons_interval(self):
        found = estimate(labelled(45, 5), accepted=1000, uncertain=0)
        assert found.accepted.share == pytest.approx(0.9)
        assert (found.accepted.low, found.accepted.high) == pytest.approx(wilson_interval(45, 50))
        assert found.accepted.labels == 50
        assert found.uncertain is None
        assert found.guesses == found.accepted

    def test_both_kinds_count_by_their_share_of_the_decisions(self):
        """90 of 100 decisions accepted: uncertain ones, of which all were labelled, must not drown them."""
        held_back = labelled(20, 80, reason="uncertain", share=1.0)
        found = estimate(labelled(9, 1) + held_back, accepted=900, uncertain=100)
        assert found.guesses.share == pytest.approx(0.9 * 0.9 + 0.1 * 0.2)
        effective = 1 / (0.9**2 / 10 + 0.1**2 / 100)
        low, high = wilson_interval(found.guesses.share * effective, effective)
        assert (found.guesses.low, found.guesses.high) == pytest.approx((low, high))
        assert found.guesses.labels == 110

    def test_one_kind_without_labels_leaves_the_whole_unknown(self):
        found = estimate(labelled(9, 1), accepted=90, uncertain=10)
        assert found.accepted is not None
        assert found.guesses is None

    def test_a_changed_share_is_weighed_out(self):
        """Drawn with .5 on easy days and with .05 on hard ones, whose labels stand for ten times more each."""
        easy, hard = labelled(50, 0, share=0.5), labelled(0, 5, share=0.05)
        found = estimate(easy + hard, accepted=200, uncertain=0).accepted
        assert found.share == pytest.approx(0.5)
        assert found.high - found.low > 0.4, "unequal weights are worth less"

    def test_what_comes_again_and_again_counts_as_often(self, stage, book):
        """Nine of ten items are one cup, which it knows; the tenth is another thing each time, which it does not."""
        for number in range(40):
            cup = number % 10 != 0
            stage.offer(picture(7 if cup else 100 + number), reason="random", share=0.5, label="glass")
        for sample in book.waiting():
            book.give(sample.id, "class", "glass" if sample.stands_for else "paper")
        found = live_accuracy(book).accepted
        assert found.labels == 5
        assert found.share == pytest.approx(0.9)
        assert found.low < 0.5, "five labels say little"

    def test_none_of_the_classes_is_wrong_and_skipped_is_nothing(self, stage, book):
        for _ in range(4):
            stage.offer(reason="random", share=0.5)
        book.give(1, "class", "glass")
        book.give(2, "none")
        book.give(3, "skip")
        found = live_accuracy(book)
        assert (found.accepted.share, found.accepted.labels) == (0.5, 2)

    def test_a_period_and_a_model(self, stage, book):
        stage.offer(reason="random")
        stage.now_s += 1000
        stage.offer(reason="random", uid="bbbb", model="lite2 2 (fp16)", label="paper")
        book.give(1, "class", "metal")
        book.give(2, "class", "paper")
        assert live_accuracy(book).accepted.share == 0.5
        assert live_accuracy(book, model="lite2 2 (fp16)").accepted.share == 1.0
        assert live_accuracy(book, since_ms=NOON_MS + 1_500_000).accepted.labels == 1
        assert live_accuracy(book, model="none such").accepted is None

    def test_the_interval_holds_what_it_promises(self):
        """Drawn from known worlds the 95 % intervals miss the truth about one time in twenty."""
        draw, hits, worlds = random.Random(3), 0, 400
        for _ in range(worlds):
            accepted, uncertain = draw.randint(200, 900), draw.randint(20, 300)
            p_accepted, p_uncertain = draw.uniform(0.7, 0.97), draw.uniform(0.2, 0.6)
            samples = [replace(sample(0), share=0.1) for _ in range(round(0.1 * accepted))]
            samples = [replace(one, guess="glass" if draw.random() < p_accepted else "metal") for one in samples]
            held = [sample(0, reason="uncertain", share=1.0) for _ in range(uncertain)]
            held = [replace(one, guess="glass" if draw.random() < p_uncertain else "metal") for one in held]
            truth = (accepted * p_accepted + uncertain * p_uncertain) / (accepted + uncertain)
            found = estimate(samples + held, accepted, uncertain).guesses
            hits += found.low <= truth <= found.high
        assert hits / worlds > 0.92
