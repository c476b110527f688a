"""`--review on` leaves training photos out, and touches no other; the shipped list fits the published split."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from smartbin.classes import GARBAGE_CLASSES
from smartbin.errors import DataError
from tests.conftest import draw_photo
from train.config import TrainConfig
from train.datasets.photos import DataSet, open_data
from train.datasets.review import load_review
from train.datasets.sources import published_names


@pytest.fixture
def garbage(tmp_path: Path) -> Path:
    """The reviewed photos and a few others of the garbage data set, drawn."""
    review = load_review("garbage")
    assert review is not None
    named = {entry.file for entry in review.photo} | {entry.copy_of for entry in review.photo if entry.copy_of}
    for label in GARBAGE_CLASSES:
        for part in ("train", "val"):
            names = sorted(name for name in published_names(part) if name.startswith(label))[:8]
            named |= {f"{label}/{name}" for name in names}
    root = tmp_path / "garbage"
    for name in named:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), draw_photo(1))
    return root


def names(data: DataSet, part: str) -> set[str]:
    return {photo.path.name for photo in data.part(part)}  # type: ignore[arg-type]


def test_shipped_review_fits_the_published_split() -> None:
    review = load_review("garbage")
    assert review is not None
    train, held_out = published_names("train"), published_names("val") | published_names("test")
    for entry in review.photo:
        folder, name = entry.file.split("/")
        assert name.rstrip("0123456789.jpg") == folder
        if entry.decision == "drop":
            assert name in train, "only training photos may be dropped"
        if entry.copy_of:
            assert entry.copy_of.split("/")[1] in held_out


def test_review_leaves_out_training_photos_only(garbage: Path) -> None:
    off = open_data(TrainConfig(data=("garbage",), data_root=garbage))
    on = open_data(TrainConfig(data=("garbage",), data_root=garbage, review="on"))
    gone = names(off, "train") - names(on, "train")
    assert {"metal91.jpg", "glass389.jpg", "plastic137.jpg"} <= gone
    assert "plastic441.jpg" in names(on, "train")  # looked at and kept
    assert off.val == on.val
    assert off.test == on.test
    assert len(off.train) - len(on.train) == len(gone) == 11
    assert any("11 training photos left out" in note for note in on.notes)
    assert TrainConfig(data=("garbage",)).review == "off"


def test_copy_is_dropped_only_while_the_other_is_held_out(garbage: Path) -> None:
    pairs = {entry.file: entry.copy_of for entry in load_review("garbage").photo if entry.reason == "copy"}  # type: ignore[union-attr]
    dropped, kept = 0, 0
    for seed in range(4):
        config = TrainConfig(data=("garbage",), data_root=garbage, split="seeded", seed=seed, review="on")
        data = open_data(config)
        before = open_data(config.model_copy(update={"review": "off"}))
        assert (data.val, data.test) == (before.val, before.test)
        for copy, other in pairs.items():
            copy_name, other_name = Path(copy).name, Path(other).name
            if copy_name in names(before, "train"):
                held_out = other_name not in names(before, "train")
                assert (copy_name in names(data, "train")) is not held_out
                dropped, kept = dropped + held_out, kept + (not held_out)
    assert dropped
    assert kept


def test_folder_without_a_review_is_left_alone(photos: Path) -> None:
    config = TrainConfig(data=(str(photos),), review="on")
    assert open_data(config) == open_data(config.model_copy(update={"review": "off"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[photo]]\nfile = "a/b.jpg"\ndecision = "burn"\nreason = "label"\nshows = ""\nwhy = ""', "photo.0.decision"),
        ('[[photo]]\nfile = "b.jpg"\ndecision = "drop"\nreason = "label"\nshows = ""\nwhy = ""', "photo.0.file"),
        ('[[photo]]\nfile = "a/b.jpg"\ndecision = "drop"\nreason = "copy"\nshows = ""\nwhy = ""', "copy_of belongs"),
        (
            2 * '[[photo]]\nfile = "a/b.jpg"\ndecision = "drop"\nreason = "label"\nshows = ""\nwhy = ""\n',
            "listed twice",
        ),
        ("[[photo", "Unexpected end"),
    ],
)
def test_list_that_does_not_fit_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DataError) as refused:
        load_review("mine", tmp_path)
    assert expected in str(refused.value)
    assert "mine.toml" in str(refused.value)
