"""The built-in bundle on the built-in scene says what it said when both were made (tools/make_golden.py).

Of single frames, and of films of items that come and go, played to the daemon.
"""

from __future__ import annotations

import json

import pytest

from smartbin.bundle import builtin_bundle_path, read_bundle
from tools.make_golden import GOLDEN, SEQUENCES, decisions_on, golden_films, predict, resting_frames

ROWS = json.loads(GOLDEN.read_text(encoding="utf-8"))
# int8 arithmetic and JPEG decoding differ by a unit between processors and OpenCV releases
TOLERANCE = 0.08
LATE_S = 0.15  # by so much a decision may fall earlier or later: four frames


def test_every_item_of_the_scene_has_a_golden_row() -> None:
    assert {item: (row["file"], row["truth"]) for item, row in ROWS.items()} == resting_frames()


@pytest.mark.parametrize("item", ROWS)
def test_prediction_is_the_golden_one(item: str) -> None:
    golden = ROWS[item]
    prediction, _ = predict(golden["file"])
    assert prediction.probabilities == pytest.approx(golden["probabilities"], abs=TOLERANCE)


def test_the_built_in_bundle_is_small_int8_and_complete() -> None:
    bundle = read_bundle(builtin_bundle_path())
    assert bundle.manifest.precision == "int8"
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= 8_000_000


def test_films_are_decided_as_the_golden_ones() -> None:
    """Each item once, with its label; the time from its being held still to that within a few frames."""
    golden = json.loads(SEQUENCES.read_text(encoding="utf-8"))
    played = [row for film in golden_films() for row in decisions_on(film)]
    assert [(row["film"], row["truth"]) for row in played] == [(row["film"], row["truth"]) for row in golden]
    for row, expected in zip(played, golden, strict=True):
        ((kind, label, after_s),), ((*answer, expected_s),) = row["decisions"], expected["decisions"]
        assert [kind, label] == answer
        assert after_s == pytest.approx(expected_s, abs=LATE_S)
