"""Splits: parts are disjoint, cover everything and stay put; what shows one object is never torn apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from smartbin.errors import DataError
from smartbin.images import LabelledPhoto
from tests.train.objects import object_of
from tests.train.sets import write_garbage, write_recycle
from train.config import TrainConfig
from train.datasets import splits
from train.datasets.photo_groups import PhotoGroups
from train.datasets.photos import DataSet, open_data
from train.datasets.sources import PARTS

_VIEWS = 3


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes with three photos of each of many objects, which the grouping knows by their names."""
    root = tmp_path / "objects"
    for label, count in (("bottle", 24), ("can", 12), ("carton", 8)):
        (root / label).mkdir(parents=True)
        for item in range(count):
            for view in range(_VIEWS):
                (root / label / f"{100 * count + item}-{view}.jpg").write_bytes(b"not opened here")

    def by_name(photos: list[LabelledPhoto], config: TrainConfig) -> PhotoGroups:
        return PhotoGroups({photo.path: object_of(photo.path) for photo in photos})

    monkeypatch.setattr(splits, "find_groups", by_name)
    return root


def opened(root: Path, **settings: object) -> DataSet:
    return open_data(TrainConfig.model_validate({"data": str(root), **settings}))


def torn(data: DataSet) -> set[int]:
    """Objects with photos in more than one part."""
    seen = [{object_of(photo.path) for photo in data.part(part)} for part in PARTS]
    return (seen[0] & seen[1]) | (seen[0] & seen[2]) | (seen[1] & seen[2])


def check_partition(data: DataSet, photos: int) -> None:
    parts = [set(data.part(part)) for part in PARTS]
    assert sum(map(len, parts)) == len(set().union(*parts)) == photos


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("split", ["seeded", "grouped"])
def test_parts_are_disjoint_cover_everything_and_repeat(objects: Path, split: str, seed: int) -> None:
    data = opened(objects, split=split, seed=seed)
    check_partition(data, 3 * 44)
    assert data == opened(objects, split=split, seed=seed)
    assert data.val != opened(objects, split=split, seed=seed + 100).val
    for label, photos in (("bottle", 72), ("can", 36), ("carton", 24)):
        for part in ("val", "test"):
            assert 0.5 * 0.15 * photos <= data.counts(part)[label] <= 1.3 * 0.15 * photos + 1


@pytest.mark.parametrize("seed", range(8))
def test_grouped_split_tears_no_object_apart_where_a_seeded_one_does(objects: Path, seed: int) -> None:
    assert torn(opened(objects, split="grouped", seed=seed)) == set()
    assert torn(opened(objects, split="seeded", seed=seed))


@pytest.mark.parametrize("split", ["seeded", "grouped"])
def test_one_photo_more_moves_hardly_any_other(objects: Path, split: str) -> None:
    before = opened(objects, split=split)
    where = {photo.path: part for part in PARTS for photo in before.part(part)}
    for number in range(6):
        newcomer = objects / "can" / f"{9000 + number}-0.jpg"
        newcomer.write_bytes(b"new")
        after = opened(objects, split=split)
        moved = [photo for part in PARTS for photo in after.part(part) if where.get(photo.path, part) != part]
        assert len(moved) <= 2 * _VIEWS, "no more than what stood at a cut"
        assert all(photo.label == "can" for photo in moved)
        newcomer.unlink()


def test_large_groups_do_not_make_a_part_much_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of each class is one group; it has to be for training, or there would be nothing to train on."""
    root = tmp_path / "photos"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for item in range(40):
            (root / label / f"{item}-0.jpg").write_bytes(b"")

    def halves(photos: list[LabelledPhoto], config: TrainConfig) -> PhotoGroups:
        alone = {photo.path: 1000 + number for number, photo in enumerate(photos)}
        large = {photo.path: ord(photo.label) for photo in photos if object_of(photo.path) < 20}
        return PhotoGroups({**alone, **large})

    monkeypatch.setattr(splits, "find_groups", halves)
    for seed in range(5):
        data = opened(root, split="grouped", seed=seed)
        assert [list(data.counts(part).values()) for part in PARTS] == [[28, 28], [6, 6], [6, 6]]
        assert "40 photos show an object that others show, too: 2 groups, which no part shares" in data.notes
    monkeypatch.setattr(splits, "find_groups", lambda photos, _: PhotoGroups({p.path: ord(p.label) for p in photos}))
    with pytest.raises(DataError, match="classes without a photo in the val part"):
        opened(root, split="grouped")


def test_small_groups_only_still_give_a_validation_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "photos"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for item in range(12):
            (root / label / f"{item}-0.jpg").write_bytes(b"")
    monkeypatch.setattr(
        splits,
        "find_groups",
        lambda photos, _: PhotoGroups({p.path: ord(p.label) * 10 + (object_of(p.path) < 5) for p in photos}),
    )
    data = opened(root, split="grouped")  # groups of 5 and 7, where val is to have 2
    assert [list(data.counts(part).values()) for part in PARTS] == [[7, 7], [5, 5], [0, 0]]


def test_group_over_two_sources_is_not_torn_apart(objects: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for label, first in (("bottle", 2400), ("can", 1200)):
        (other / label).mkdir(parents=True)
        for item in range(first, first + 12):
            (other / label / f"{item}-9.jpg").write_bytes(b"the same objects once more")
    data = open_data(TrainConfig.model_validate({"data": [str(objects), str(other)], "split": "grouped"}))
    check_partition(data, 3 * 44 + 24)
    assert torn(data) == set()


@pytest.mark.parametrize("split", ["seeded", "grouped"])
@pytest.mark.parametrize("folds", [2, 5])
def test_folds_hold_every_photo_once(objects: Path, split: str, folds: int) -> None:
    held: list[LabelledPhoto] = []
    for fold in range(folds):
        data = opened(objects, split=split, folds=folds, fold=fold)
        check_partition(data, 3 * 44)
        assert data.test == ()
        assert data.split == f"fold {fold} of {folds}, {split} (0)"
        assert not torn(data) or split == "seeded"
        for label, count in data.counts("val").items():
            share = sum(data.counts(part)[label] for part in PARTS) / folds
            assert 0.5 * share <= count <= 1.5 * share
        held += data.val
    assert len(held) == len(set(held)) == 3 * 44


def test_folds_of_several_sources(tmp_path: Path) -> None:
    write_garbage(tmp_path / "garbage")
    write_recycle(tmp_path / "recycle")
    settings = {"data": "combined", "data_root": tmp_path, "split": "seeded", "folds": 3}
    data = open_data(TrainConfig.model_validate(settings))
    names = [data.source_of(photo) for photo in data.val]
    assert names.count("garbage") == pytest.approx(63 / 3, abs=3)
    assert names.count("recycle") == pytest.approx(65 / 3, abs=3)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"folds": 1, "split": "seeded"}, "folds must be 0, or 2 and more"),
        ({"folds": 5, "split": "published"}, "split must be seeded or grouped"),
        ({"folds": 5, "fold": 5, "split": "seeded"}, r"fold must be below folds \(5\), but is 5"),
        ({"fold": 1}, r"fold must be below folds \(0\)"),
    ],
)
def test_wrong_folds(objects: Path, settings: dict[str, object], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        opened(objects, **settings)


def test_more_folds_than_photos(objects: Path) -> None:
    with pytest.raises(DataError, match="too few photos for so many folds") as refused:
        opened(objects, split="seeded", folds=30)
    assert refused.value.found == "objects/carton 24"


def test_named_set_may_be_split_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published is what a named set gets unless something else is asked for."""
    root = write_garbage(tmp_path / "garbage")
    settings = {"data": "garbage", "data_root": root}
    assert open_data(TrainConfig.model_validate(settings)).split == "published"
    data = open_data(TrainConfig.model_validate({**settings, "split": "seeded"}))
    assert (data.name, data.split, len(data.photos())) == ("garbage", "seeded (0)", 63)


def test_set_is_cut_alone_as_beside_another(tmp_path: Path, photo_folder: Callable[..., Path]) -> None:
    recycle = write_recycle(tmp_path / "recycle")
    other = photo_folder({"glass": 10, "metal": 10}, name="other")
    alone = open_data(TrainConfig.model_validate({"data": str(recycle)}))
    both = open_data(TrainConfig.model_validate({"data": [str(other), str(recycle)], "classes": "any"}))
    for part in PARTS:
        beside = {photo.path for photo in both.part(part) if both.source_of(photo) == "recycle"}
        assert beside == {photo.path for photo in alone.part(part)}
