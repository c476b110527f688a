"""The built-in bundle on the built-in scene says what it said when both were made (tools/make_golden.py)."""

from __future__ import annotations

import json

import pytest

from smartbin.bundle import builtin_bundle_path, read_bundle
from tools.make_golden import GOLDEN, predict, resting_frames

ROWS = json.loads(GOLDEN.read_text(encoding="utf-8"))
# int8 arithmetic and JPEG decoding differ by a unit between processors and OpenCV releases
TOLERANCE = 0.08


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
