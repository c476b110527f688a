"""The stand-in for the recycle data set: its format, and that it shares no photo with the garbage set beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE
from smartbin.images import list_images
from tests.train.sets import write_garbage
from tools.recycle_standin import main
from train.run import main as train_main


def test_standin_has_the_format_and_is_apart_from_the_garbage_set(tmp_path: Path) -> None:
    photos, out = write_garbage(tmp_path / "photos", train=9), tmp_path / "standin"
    assert main([str(photos), "--out", str(out)]) == 0
    with np.load(out / "recycle_data_shuffled.npz") as arrays:
        found = {name: arrays[name] for name in arrays}
    count = {part: len(found[f"x_{part}"]) for part in ("train", "test")}
    for part, number in count.items():
        assert found[f"x_{part}"].shape == (number, 128, 128, 3)
        assert found[f"x_{part}"].dtype == np.uint8
        assert found[f"y_{part}"].shape == (number, 1)
    assert set(np.unique(found["y_train"])) <= set(range(5))
    assert found["x_train"].mean() < 100
    assert sum(count.values()) + len(list_images(out / "garbage")) == len(list_images(photos))
    assert {path.name for path in (out / "garbage").iterdir()} == set(GARBAGE_CLASSES)
    assert (
        train_main(["data", "fetch", "recycle", "--file", str(out / "recycle_data_shuffled.npz"), "--to", str(out)])
        == 0
    )
    assert {path.name for path in (out / "recycle").iterdir() if path.is_dir()} == set(RECYCLE_TO_GARBAGE)
