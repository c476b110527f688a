"""Calibration, coverage and rejection on planted data: the answers are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smartbin import calibration
from smartbin.errors import DataError
from tests.train.test_plots import assert_legends_cover_nothing
from tests.train.tiny import TinyNetwork
from train.metrics import Outputs
from train.networks.feature_distance import USUAL_SHARE, collected_features, fit_feature_space
from train.report import outsiders as outside
from train.report.document import Text
from train.report.doubt import doubt_sections
from train.report.figure_files import DARK, LIGHT, picture
from train.report.findings import Findings
from train.report.outputs import OutsiderOutputs, RunOutputs, Scored
from train.report.outsiders import OUTSIDER_KINDS, OutsiderKind, missing_pictures, outsiders
from train.report.plots_doubt import draw_coverage, draw_reliability, draw_scores
from train.report.rejection import (
    grouped_interval,
    measure_acceptance,
    measure_catches,
    measure_coverage,
    threshold_that_keeps,
    weight_in_energy,
)
from train.report.reliability import crossfit, error_by_chance, folds_of, measure_reliability


def drawn(photos: int, scale: float = 1.0, seed: int = 0) -> Outputs:
    """Logits of a network that is right exactly as often as it says; `scale` times as loud."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (photos, 5))
    labels = (rng.random((photos, 1)) > calibration.softmax(logits).cumsum(axis=1)).sum(axis=1)
    return Outputs((scale * logits).astype(np.float32), labels.astype(np.int64))


def certain(confidences: list[float], right: list[bool]) -> Outputs:
    """Two classes, the first predicted with these confidences."""
    first = np.log(np.array(confidences) / (1 - np.array(confidences)))
    logits = np.stack([first, np.zeros(len(first))], axis=1).astype(np.float32)
    return Outputs(logits, np.where(right, 0, 1).astype(np.int64))


def others(logits: np.ndarray, distances: np.ndarray | None = None, views: int = 4) -> OutsiderOutputs:
    """Outsiders of all kinds in turn, `views` of each original."""
    kinds: tuple[OutsiderKind, ...] = tuple(OUTSIDER_KINDS[index % 3] for index in range(len(logits)))
    names = tuple(f"thing {index // views} {index % views}" for index in range(len(logits)))
    return OutsiderOutputs(logits.astype(np.float32), distances, kinds, names)


def test_honest_confidence_has_no_error_beyond_chance() -> None:
    found = measure_reliability(drawn(2000))
    assert found.temperature == pytest.approx(1, abs=0.1)
    assert found.before <= found.chance_high * 1.2
    assert found.crossfitted <= found.chance_high * 1.2


def test_loud_confidence_is_brought_down() -> None:
    found = measure_reliability(drawn(2000, scale=3))
    assert found.temperature == pytest.approx(3, abs=0.25)
    assert found.before > 0.15
    assert found.adaptive_before > 0.15
    assert found.crossfitted < 0.04
    assert found.adaptive_crossfitted < 0.04
    assert all(entry.confidence > entry.accuracy for entry in found.bins_before[:5])


def test_temperature_at_its_bound_is_said_to_be_there() -> None:
    """Answers that are as sure as wrong want an endless temperature."""
    outputs = Outputs(np.tile(np.float32([[9, 0]]), (40, 1)), np.ones(40, np.int64))
    found = Findings(
        reliability=measure_reliability(outputs),
        coverage=measure_coverage(outputs, 1.0),
        acceptance=measure_acceptance(Scored(outputs, None), 1.0),
        catches=[],
    )
    texts = [block.text for block in doubt_sections(RunOutputs(Scored(outputs, None), None), found)[0].blocks
             if isinstance(block, Text)]  # fmt: skip
    assert "One temperature, 20.000 (at its bound: 0.05 to 20 were tried" in texts[0]
    assert not calibration.is_bound(measure_reliability(drawn(2000, scale=3)).temperature)
    assert calibration.is_bound(measure_reliability(Outputs(outputs.logits / 9, 1 - outputs.labels)).temperature)


def test_error_is_the_gap_where_all_answers_are_alike() -> None:
    outputs = certain([0.9] * 100, [True] * 60 + [False] * 40)
    found = measure_reliability(outputs)
    assert found.before == pytest.approx(0.3, abs=1e-6)
    assert found.adaptive_before == pytest.approx(0.3, abs=0.15)  # small bins add what chance gives
    assert found.fitted == pytest.approx(0, abs=1e-3)


def test_chance_shrinks_with_the_number_of_photos() -> None:
    few, many = error_by_chance(np.full(100, 0.8)), error_by_chance(np.full(10_000, 0.8))
    assert few[0] == pytest.approx(0.04 * np.sqrt(2 / np.pi), rel=0.1)  # mean |x| of a normal with sd sqrt(.8*.2/100)
    assert many[0] < few[0] / 5
    assert few[1] > few[0]


def test_a_photo_does_not_choose_its_own_temperature() -> None:
    outputs = drawn(200)
    mine = folds_of(outputs.labels) == 0
    louder = Outputs(np.where(mine[:, None], 10 * outputs.logits, outputs.logits).astype(np.float32), outputs.labels)
    before, after = crossfit(outputs)[1], crossfit(louder)[1]
    assert before[0] == after[0]
    assert all(first != second for first, second in zip(before[1:], after[1:], strict=True))


def test_folds_hold_every_class_evenly() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 7])
    fold = folds_of(labels)
    for label, count in ((0, 10), (1, 4), (2, 1)):
        parts = np.bincount(fold[labels == label], minlength=5)
        assert parts.min() >= count
        assert parts.max() <= count + 1
    assert np.ptp(np.bincount(fold)) <= 1


def test_coverage_counts_the_most_confident_first() -> None:
    found = measure_coverage(certain([0.99, 0.9, 0.8, 0.7, 0.6], [True, True, True, False, False]), 1.0)
    assert found.accepted == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found.accuracy == pytest.approx([1, 1, 1, 0.75, 0.6])
    assert found.area == pytest.approx((0.25 + 0.4) / 5)
    assert found.best_area == pytest.approx(found.area)


def test_confident_mistakes_cost_area() -> None:
    found = measure_coverage(certain([0.99, 0.9, 0.8, 0.7, 0.6], [False, False, True, True, True]), 1.0)
    assert found.accuracy == pytest.approx([0, 0, 1 / 3, 0.5, 0.6])
    assert found.area > found.best_area == pytest.approx((0.25 + 0.4) / 5)


def test_equal_confidences_share_their_accuracy() -> None:
    found = measure_coverage(certain([0.9] * 4, [True, True, False, False]), 1.0)
    assert found.accuracy == pytest.approx([0.5] * 4)


@pytest.mark.parametrize(
    ("inside", "outside", "area"),
    [
        ([1, 2, 3], [4, 5], 1.0),
        ([4, 5], [1, 2, 3], 0.0),
        ([1, 2], [1, 2], 0.5),
        ([1, 1], [1, 1], 0.5),
        ([0, 2], [1], 0.5),
        ([0, 1, 2, 3], [2.5], 0.75),
    ],
    ids=["separable", "the wrong way", "the same", "all tied", "between", "above three of four"],
)
def test_auroc(inside: list[float], outside: list[float], area: float) -> None:
    assert calibration.auroc(np.array(inside, float), np.array(outside, float)) == area


def test_auroc_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="no AUROC"):
        calibration.auroc(np.zeros(0), np.zeros(3))


def test_adaptive_error_sees_what_crowded_bins_hide() -> None:
    # all in one bin of equal width, the gaps cancel there: half too sure, half not sure enough
    confidences = np.array([0.94] * 300 + [0.99] * 300)
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    labels = np.array([0] * 300 + [0] * 279 + [1] * 21)
    wide = calibration.expected_calibration_error(probabilities, labels, 15)
    adaptive = calibration.adaptive_calibration_error(probabilities, labels, 2)
    assert wide < 0.002
    assert adaptive == pytest.approx(0.06, abs=1e-6)


def test_thresholds_keep_validation_and_are_not_chosen_on_what_they_measure() -> None:
    found = measure_acceptance(Scored(drawn(1000), None), 1.0)
    assert 0.95 <= found.kept < 0.975
    assert found.kept_crossfitted == pytest.approx(0.955, abs=0.02)
    assert 0 < found.mistakes_caught < found.mistakes
    assert found.interval_low < found.accuracy < found.interval_high


def test_separable_outsiders_are_all_caught_and_twins_are_not() -> None:
    val = drawn(600)
    faint, twins = np.full((60, 5), -20.0), drawn(600, seed=9).logits
    caught = measure_catches(RunOutputs(Scored(val, None), outsiders=others(faint)), 1.0)
    assert [entry.score for entry in caught] == [
        "confidence and energy (what a bundle does)",
        "confidence alone",
        "energy alone",
    ]
    assert {entry.caught for entry in caught} == {1.0}
    assert caught[1].auroc == 1.0
    assert [(kind.pictures, kind.caught) for kind in caught[0].kinds] == [(20, 20)] * 3
    missed = measure_catches(RunOutputs(Scored(val, None), outsiders=others(twins)), 1.0)
    assert all(entry.caught < 0.12 for entry in missed)
    assert missed[1].auroc == pytest.approx(0.5, abs=0.05)


def test_distance_catches_what_logits_cannot_see() -> None:
    seen = drawn(200)
    near = np.random.default_rng(1).uniform(0, 0.05, 200).astype(np.float32)
    val = Scored(seen, near)
    far = others(seen.logits, np.full(200, 0.9, np.float32))
    by_name = {entry.score: entry for entry in measure_catches(RunOutputs(val, outsiders=far), 1.0)}
    for name in ("feature distance alone", "energy alone", "confidence and energy (what a bundle does)"):
        assert by_name[name].caught > 0.5
    assert by_name["feature distance alone"].auroc == 1.0
    for name in ("with --unfamiliar 0", "confidence alone"):
        assert by_name[name].caught < 0.1
    plain = measure_acceptance(Scored(seen, None), 1.0)
    assert measure_acceptance(val, 1.0).thresholds.max_energy > plain.thresholds.max_energy


@pytest.mark.parametrize("scale", [0.001, 1000.0])
def test_weight_of_the_distance_does_not_depend_on_the_scale_of_the_features(scale: float) -> None:
    rng = np.random.default_rng(0)
    seen, near = drawn(200), rng.uniform(0, 1, 200).astype(np.float32)
    usual = weight_in_energy(Scored(seen, near))
    assert usual * near.std() == pytest.approx(USUAL_SHARE * calibration.energy(seen.logits).std(), rel=1e-4)
    assert weight_in_energy(Scored(seen, near * np.float32(scale))) == pytest.approx(usual / scale, rel=1e-3)
    assert weight_in_energy(Scored(seen, np.zeros(200, np.float32))) == 0.0
    assert weight_in_energy(Scored(seen, None)) == 0.0


def test_views_of_one_thing_are_one_trial() -> None:
    hits = np.array([True] * 50 + [False] * 50)
    alone = grouped_interval(hits, tuple(str(index) for index in range(100)))
    together = grouped_interval(hits, ("a",) * 50 + ("b",) * 50)
    assert alone[1] - alone[0] == pytest.approx(0.2, abs=0.04)
    assert together == (0.0, 1.0)


def test_threshold_keeps_at_least_its_part() -> None:
    scores = np.random.default_rng(0).normal(size=333)
    top = threshold_that_keeps(scores, 0.95)
    assert 0.95 <= (scores <= top).mean() < 0.955


def test_features_off_the_trained_directions_are_far() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 20)) + rng.normal(0, 0.01, (300, 20))
    space = fit_feature_space(plane[:200].astype(np.float32), directions=3)
    inside = space.distances(plane[200:].astype(np.float32))
    outside = space.distances(rng.normal(size=(100, 20)).astype(np.float32))
    assert calibration.auroc(inside, outside) == 1.0
    np.testing.assert_allclose(space.distances((7 * plane[200:]).astype(np.float32)), inside, atol=1e-5)


def test_features_are_what_the_last_layer_gets() -> None:
    network = TinyNetwork(3, 0.0).eval()
    with collected_features(network) as found, torch.inference_mode():
        logits = network(torch.rand(4, 3, 32, 32))
    features = torch.from_numpy(np.concatenate(found))
    torch.testing.assert_close(network.fc(features), logits)
    network(torch.rand(2, 3, 32, 32))
    assert len(found) == 1  # nothing is collected afterwards


@pytest.fixture
def one_view(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIEWS", "TEXTURE_VIEWS", "ITEM_VIEWS"):
        monkeypatch.setattr(outside, name, 1)


@pytest.mark.usefixtures("one_view")
def test_outsiders_are_the_same_every_time() -> None:
    first, second = list(outsiders()), list(outsiders())
    assert len(first) == outside.count_outsiders()
    assert {picture.kind for picture in first} == set(OUTSIDER_KINDS)
    assert len({picture.name for picture in first}) == len(first)
    for mine, yours in zip(first, second, strict=True):
        assert mine.name == yours.name
        np.testing.assert_array_equal(mine.image, yours.image)
        assert mine.image.dtype == np.uint8
        assert mine.image.shape == (outside.HEIGHT, outside.WIDTH, 3)
    assert missing_pictures() == []


def test_views_of_an_item_differ() -> None:
    pictures = [outside.render_item("apple", view, 120, 160) for view in range(3)]
    for image in pictures:
        assert image.std() > 10  # something is there
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])


@pytest.mark.usefixtures("one_view")
def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_libraries", lambda: [(None, ["china.jpg"])])
    assert outside.natural_files() == []
    assert "china.jpg" in missing_pictures()
    assert {picture.kind for picture in outsiders()} == {"texture", "rendered"}


def test_reliability_figure_has_the_points_of_the_bins() -> None:
    found = measure_reliability(drawn(400, scale=3))
    axes = draw_reliability(found).axes[1]
    line = max(axes.lines, key=lambda drawn_line: len(drawn_line.get_xdata()))
    np.testing.assert_allclose(line.get_xdata(), [entry.confidence for entry in found.bins_after])
    np.testing.assert_allclose(line.get_ydata(), [entry.accuracy for entry in found.bins_after])


def test_coverage_figure_marks_the_chosen_thresholds() -> None:
    outputs = drawn(400)
    acceptance = measure_acceptance(Scored(outputs, None), 1.0)
    figure = draw_coverage(measure_coverage(outputs, 1.0), acceptance)
    assert_legends_cover_nothing(figure)
    lines = figure.axes[0].lines
    assert (acceptance.kept, acceptance.accuracy) in [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]


def test_energy_figure_counts_every_picture() -> None:
    inside, outside_scores = np.linspace(-5, -1, 40), np.linspace(-2, 0, 30)
    figure = draw_scores("energy", inside, inside < -2, outside_scores, others(np.zeros((30, 3))), -1.2)
    assert_legends_cover_nothing(figure)
    for axes, count in zip(figure.axes, (40, 30), strict=True):
        assert sum(bar.get_height() for bar in axes.patches) == count
        assert any(line.get_xdata()[0] == -1.2 for line in axes.lines)


def test_dark_figure_is_the_light_one_in_other_colours() -> None:
    found = picture("r", lambda: draw_reliability(measure_reliability(drawn(50))), alt="a", caption="c")
    light, dark = found.light_svg.decode(), found.dark_svg.decode()
    assert all(colour in light for colour in (LIGHT.ink, LIGHT.ground, LIGHT.series[0]))
    assert not any(colour in dark for colour in LIGHT.colours)
    assert all(colour in dark for colour in (DARK.ink, DARK.ground, DARK.series[0]))
    assert "calibration error" in light  # text stays text
    with pytest.raises(ValueError, match="no alternative text"):
        picture("r", lambda: draw_reliability(measure_reliability(drawn(50))), alt=" ", caption="c")
