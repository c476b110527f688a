"""Photos of one object are found, whatever way it lies, and what was found is kept."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.cluster import AgglomerativeClustering

from smartbin.errors import WeightsError
from smartbin.images import LabelledPhoto
from tests.train.objects import draw_object, object_of, write_objects
from tests.train.tiny import NAME
from train.cache.reading import read_photos
from train.config import TrainConfig
from train.datasets import groups_command, photo_groups
from train.datasets.descriptors import SeeingNetwork
from train.datasets.photo_groups import PhotoGroups, cluster, find_groups
from train.datasets.photo_matches import matching_pairs, neighbour_pairs
from train.datasets.sources import open_sources
from train.networks.architectures import architecture_of
from train.run import main


@pytest.fixture(autouse=True)
def _tiny_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_groups, "NETWORK", SeeingNetwork(NAME, ("front", "back"), "back"))


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Six objects in two classes, three photos of each."""
    root = write_objects(tmp_path / "objects", objects=3)
    machine = {"workers": 0, "device": "cpu", "cache_dir": tmp_path / "cache"}
    return TrainConfig.model_validate(
        {"data": str(root), "split": "grouped", "group_weights": "none", "model": NAME, "machine": machine}
    )


def photos_of(config: TrainConfig) -> tuple[LabelledPhoto, ...]:
    found, _ = open_sources(config.data, config.data_root)
    return found[0].photos


def test_photos_of_one_object_are_a_group(config: TrainConfig) -> None:
    groups = find_groups(photos_of(config), config)
    for members in groups.members().values():
        objects = {object_of(path) for path in members}
        assert len(members) == 3 * len(objects), "an object is torn apart"
    assert len(groups.members()) >= 4  # and not all of them are one


def test_groups_are_computed_once(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = photos_of(config)
    first = find_groups(photos, config)
    with monkeypatch.context() as patch:
        patch.setattr(photo_groups, "describe_photos", lambda *_: pytest.fail("computed again"))
        assert find_groups(photos, config).numbers == first.numbers
        assert find_groups(photos[::-1], config).numbers == first.numbers
    kept = next((config.machine.cache_dir or Path()).glob("groups/*.json"))
    kept.write_text("{damaged")
    assert find_groups(photos, config).members() == first.members()
    photos[0].path.write_bytes(photos[-1].path.read_bytes())  # another object now
    again = find_groups(photos, config)
    assert again.numbers[photos[0].path] == again.numbers[photos[-1].path]
    assert again.numbers[photos[0].path] != again.numbers[photos[1].path]


def test_other_weights_of_the_same_name_group_anew(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, file = photos_of(config), tmp_path / "weights.safetensors"
    config = config.model_copy(update={"group_weights": str(file)})
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_file(architecture_of(NAME).build(2, 0.0, 0.0).state_dict(), file)
        find_groups(photos, config)
    cache = tmp_path / "cache"
    assert main(["cache", "--cache-dir", str(cache)]) == 0
    assert "which photos show one object, for 2 sets of photos" in capsys.readouterr().out
    assert main(["cache", "clear", "--cache-dir", str(cache)]) == 0
    assert not (cache / "groups").exists()


def test_cache_that_cannot_be_written_is_said(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "groups").write_text("a file in the way")
    find_groups(photos_of(config), config)
    assert "groups of photos are computed at every start" in capsys.readouterr().out


def test_weights_that_are_not_to_be_had(config: TrainConfig) -> None:
    with pytest.raises(WeightsError):
        find_groups(photos_of(config), config.model_copy(update={"group_weights": "imagenet"}))


@pytest.mark.parametrize("close", [0.3, 0.5, 0.65])
def test_clusters_are_those_of_average_linkage(close: float) -> None:
    """Part by part it comes out as over the whole matrix."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(40, 12))
    rows = centres[rng.integers(0, 40, 400)] + 0.6 * rng.normal(size=(400, 12))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    distances = np.clip(1 - rows @ rows.T, 0, 2).astype(np.float64)
    whole = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - close, metric="precomputed", linkage="average"
    ).fit_predict(distances)
    parts = cluster(rows, close)
    assert 1 < len(set(parts)) < 400
    assert np.array_equal(whole[:, None] == whole[None], parts[:, None] == parts[None])


def test_same_print_is_found_when_it_lies_differently(tmp_path: Path) -> None:
    """A quarter turn is another picture for a descriptor of the whole photo, not for its corners."""
    one, other = draw_object(11, 0), draw_object(12, 0)
    pictures = {"one": one, "turned": cv2.rotate(one, cv2.ROTATE_90_CLOCKWISE), "other": other}
    pictures["blank"] = np.full_like(one, 200)
    photos = []
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
        photos.append(LabelledPhoto(tmp_path / f"{name}.png", "a"))
    store = read_photos(photos, "none")
    alike = np.eye(4, dtype=np.float32)
    assert matching_pairs(photos, store, alike) == [(0, 1)]


def test_neighbours() -> None:
    rows = np.eye(4, dtype=np.float32)
    rows[1] = (0.8, 0.6, 0, 0)
    assert (0, 1) in neighbour_pairs(rows, 1)
    assert neighbour_pairs(rows, 9) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert neighbour_pairs(rows[:1], 3) == []


def test_straddling_photos_are_named() -> None:
    photos = [LabelledPhoto(Path(name), "a") for name in "abcd"]
    groups = PhotoGroups({photo.path: number for photo, number in zip(photos, (0, 1, 0, 2), strict=True)})
    assert groups.straddling(photos[:2], photos[2:]) == [photos[0]]
    assert groups.members()[0] == [Path("a"), Path("c")]


def test_command_says_what_a_split_tears_apart(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data", *config.data, "--model", NAME, "--group-weights", "none", "--workers", "0", "--device", "cpu"]
    assert main(["data", "groups", *flags, "--split", "seeded", "--min-photos", "3"]) == 0
    seeded = capsys.readouterr().out
    assert "18 photos; 18 of them are in" in seeded
    assert "  val: 2 of 2 (class0 1, class1 1)" in seeded
    sheet = tmp_path / "sheet.png"
    grouped = [*flags, "--split", "grouped", "--min-photos", "3", "--sheet", str(sheet)]
    assert main(["data", "groups", *grouped]) == 0
    assert "  val: 0 of" in capsys.readouterr().out
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape[1] == 6 * 128


def test_no_sheet_without_groups(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        groups_command,
        "find_groups",
        lambda photos, _: PhotoGroups({photo.path: number for number, photo in enumerate(photos)}),
    )
    flags = ["--data", *config.data, "--model", NAME, "--workers", "0", "--min-photos", "3"]
    assert main(["data", "groups", *flags, "--split", "seeded", "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert f"there is no group to show; {tmp_path / 'sheet.png'} was not written" in capsys.readouterr().out
    assert not (tmp_path / "sheet.png").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["data", "groups", *flags, "--sheet", str(tmp_path / "sheet.jpg")])
    assert "must end in .png" in capsys.readouterr().err
