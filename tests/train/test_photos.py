"""Splits: the published one where the names fit, else seeded and stratified; nothing leaks, nothing is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train.sets import write_garbage
from train.cache.reading import read_photos
from train.config import TrainConfig
from train.datasets.photos import DataSet, fingerprint, open_data
from train.datasets.sources import PARTS, published_names


def test_published_split_is_the_published_one() -> None:
    names = {part: published_names(part) for part in PARTS}
    assert [len(names[part]) for part in PARTS] == [1768, 328, 431]
    assert len(frozenset().union(*names.values())) == 2527


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_garbage(tmp_path / "garbage")


def test_garbage_takes_the_published_split_and_reports_what_is_absent(published: Path) -> None:
    data = open_data(TrainConfig(data="garbage", data_root=published))
    assert (len(data.train), len(data.val), len(data.test)) == (36, 24, 3)
    assert all(photo.path.name in published_names("val") for photo in data.val)
    assert any("test part: 428 of 431 photos are not here; nothing replaces them" in note for note in data.notes)


def test_path_with_published_names_is_the_garbage_data_set(published: Path) -> None:
    assert open_data(TrainConfig(data=str(published))).name == "garbage"
    (published / "glass" / "own_bottle.jpg").write_bytes((published / "glass" / "glass1.jpg").read_bytes())
    assert open_data(TrainConfig(data=str(published))).split == "seeded (0)"


def test_data_root_comes_from_the_environment(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTBIN_DATA", str(published))
    assert open_data(TrainConfig(data="garbage")).sources[0].root == published


def names_of(data: DataSet) -> list[list[str]]:
    return [[photo.path.name for photo in data.part(part)] for part in PARTS]


def test_seeded_split_is_stratified_disjoint_and_repeatable(photo_folder: Callable[..., Path]) -> None:
    root = photo_folder({"bottle": 40, "can": 20, "carton": 10})
    config = TrainConfig(data=str(root), val_part=0.2, test_part=0.1)
    data = open_data(config)
    assert [list(data.counts(part).values()) for part in PARTS] == [[28, 14, 7], [8, 4, 2], [4, 2, 1]]
    assert len({photo.path for photo in data.photos()}) == 70
    assert names_of(data) == names_of(open_data(config))
    assert names_of(data) != names_of(open_data(TrainConfig(data=str(root), val_part=0.2, test_part=0.1, seed=1)))


def test_limit_takes_photos_of_each_class(photo_folder: Callable[..., Path]) -> None:
    data = open_data(TrainConfig(data=str(photo_folder({"a": 30, "b": 12})), limit=3))
    assert [list(data.counts(part).values()) for part in PARTS] == [[3, 3], [3, 2], [3, 2]]


def test_fingerprint_sees_content_and_part(photos: Path) -> None:
    data = open_data(TrainConfig(data=str(photos)))
    digests = dict(read_photos(data.photos(), "none").digests)
    before = fingerprint(data, digests)
    assert before == fingerprint(data, digests)
    other_split = open_data(TrainConfig(data=str(photos), seed=5))
    assert before != fingerprint(other_split, digests)
    digests[data.train[0].path] = "0" * 64
    assert before != fingerprint(data, digests)


def test_any_takes_every_folder(photo_folder: Callable[..., Path]) -> None:
    root = photo_folder({"glass": 10, "banana": 10})
    (root / ".cache").mkdir()
    assert open_data(TrainConfig(data=str(root), classes="any")).classes == ("banana", "glass")
    assert open_data(TrainConfig(data=str(root), classes="glass, banana")).classes == ("glass", "banana")


def test_real_photos_have_the_published_parts(trashnet: Path) -> None:
    data = open_data(TrainConfig(data="garbage", data_root=trashnet))
    assert (len(data.train), len(data.val), len(data.test)) == (1768, 328, 0)
