from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smartbin import calibration
from smartbin.classifier import FunctionClassifier
from smartbin.errors import DataError, InferenceError
from smartbin.prediction import RejectThresholds, average, decide, make_prediction, predictions, probability_text

CLASSES = ("glass", "metal", "paper")
logit_tables = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 20), st.integers(2, 8)), elements=st.floats(-50, 50, allow_nan=False)
)


@given(logit_tables, st.floats(0.1, 10))
def test_softmax_sums_to_one_and_keeps_the_winner(logits: np.ndarray, temperature: float) -> None:
    probabilities = calibration.softmax(logits, temperature)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    rows = np.arange(len(logits))
    np.testing.assert_allclose(probabilities.max(axis=1), probabilities[rows, logits.argmax(axis=1)])


@given(logit_tables, st.floats(-20, 20))
def test_energy_falls_by_what_the_logits_rise(logits: np.ndarray, shift: float) -> None:
    np.testing.assert_allclose(calibration.energy(logits + shift), calibration.energy(logits) - shift, atol=1e-9)


def test_temperature_undoes_a_known_scale() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    cumulative = calibration.softmax(logits).cumsum(axis=1)
    labels = (rng.random((4000, 1)) > cumulative).sum(axis=1)  # drawn from the model's own probabilities
    assert calibration.fit_temperature(logits, labels) == pytest.approx(1, abs=0.06)
    assert calibration.fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.2)
    honest, loud = calibration.softmax(logits), calibration.softmax(3 * logits)
    assert calibration.expected_calibration_error(honest, labels) < 0.03
    assert calibration.expected_calibration_error(loud, labels) > 0.15


def test_thresholds_keep_what_they_promise() -> None:
    rng = np.random.default_rng(1)
    confidences, energies = rng.random(1000), rng.normal(size=1000)
    chosen = calibration.choose_thresholds(confidences, energies, keep=0.95)
    kept = (confidences >= chosen.min_confidence) & (energies <= chosen.max_energy)
    assert 0.95 <= kept.mean() < 0.97


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (315, 328, 0.9333, 0.9767)],
    ids=["none", "all", "a validation set"],
)
def test_wilson_interval(correct: int, total: int, low: float, high: float) -> None:
    assert calibration.wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-4)


def test_confusion_and_macro_f1() -> None:
    labels, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 2])
    matrix = calibration.confusion_matrix(labels, predicted, 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 2, 1], [0, 0, 0]])
    # class 2 does not occur among the labels and does not count: (2/3 + 2/3) / 2
    assert calibration.macro_f1(matrix) == pytest.approx(2 / 3)


def test_nothing_to_measure_is_an_error() -> None:
    for call in (
        lambda: calibration.fit_temperature(np.zeros((0, 3)), np.zeros(0, int)),
        lambda: calibration.choose_thresholds(np.zeros(0), np.zeros(0)),
        lambda: calibration.wilson_interval(0, 0),
        lambda: calibration.macro_f1(np.zeros((3, 3), int)),
    ):
        with pytest.raises(DataError):
            call()


def test_prediction_names_the_best_class_and_its_lead() -> None:
    found = make_prediction([0.2, 0.7, 0.1], -3.0, CLASSES)
    assert (found.label, found.confidence) == ("metal", 0.7)
    assert found.margin == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("probabilities", "energy", "says"),
    [
        ([0.5, 0.5], 0.0, "does not fit the classes"),
        ([0.5, 0.5, 0.5], 0.0, "not probabilities"),
        ([1.2, -0.2, 0.0], 0.0, "not probabilities"),
        ([math.nan, 0.5, 0.5], 0.0, "unusable"),
        ([0.2, 0.3, 0.5], math.inf, "unusable"),
    ],
)
def test_impossible_outputs_are_refused(probabilities: list[float], energy: float, says: str) -> None:
    with pytest.raises(InferenceError, match=says):
        make_prediction(probabilities, energy, CLASSES)


@pytest.mark.parametrize(
    ("probability", "says"),
    [(1.0, ">99%"), (0.991, ">99%"), (0.99, "99%"), (0.5, "50%"), (0.01, "1%"), (0.009, "<1%"), (0.0, "<1%")],
)
def test_nobody_is_told_that_a_network_is_certain(probability: float, says: str) -> None:
    assert probability_text(probability) == says


def test_average_is_of_probabilities_not_of_indices() -> None:
    # Two frames say glass (0) with a little doubt, two say paper (2): an average of indices would say metal (1).
    frames = [
        make_prediction(row, -1.0, CLASSES)
        for row in ([0.6, 0.1, 0.3], [0.6, 0.1, 0.3], [0.2, 0.1, 0.7], [0.5, 0.1, 0.4])
    ]
    mean = average(frames, CLASSES)
    assert mean.label == "glass"
    assert mean.probabilities == pytest.approx((0.475, 0.1, 0.425))
    with pytest.raises(InferenceError, match="nothing to average"):
        average([], CLASSES)


@pytest.mark.parametrize(
    ("confidence", "energy", "verdict"),
    [(0.9, -5.0, "accepted"), (0.6, -5.0, "accepted"), (0.59, -5.0, "uncertain"), (0.9, -1.0, "uncertain")],
)
def test_decide_wants_confidence_and_low_energy(confidence: float, energy: float, verdict: str) -> None:
    prediction = make_prediction([confidence, 1 - confidence, 0.0], energy, CLASSES)
    assert decide(prediction, RejectThresholds(min_confidence=0.6, max_energy=-2.0)) == verdict


def test_function_classifier_gives_softmax_and_energy() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 9.0]])
    classifier = FunctionClassifier(CLASSES, 32, lambda batch: logits[: len(batch)])
    outputs = classifier.classify(np.zeros((2, 32, 32, 3), np.uint8))
    np.testing.assert_allclose(outputs.probabilities, calibration.softmax(logits), rtol=1e-6)
    np.testing.assert_allclose(outputs.energy, calibration.energy(logits), rtol=1e-6)
    assert [item.label for item in predictions(outputs, CLASSES)] == ["paper", "paper"]
    for wrong in (
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 16, 32, 3), np.uint8),
    ):
        with pytest.raises(InferenceError, match="does not fit the model"):
            classifier.classify(wrong)
    with pytest.raises(InferenceError, match="logits do not fit"):
        classifier.classify(np.zeros((3, 32, 32, 3), np.uint8))
