"""What the audit computes: looks of a photo, short cuts, look-alikes, folds; each on photos with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from smartbin.images import BgrImage, LabelledPhoto
from tests.train.scenes import scene
from train.audit.alike import find_alike
from train.audit.folds import fold_indices
from train.audit.labels import check_labels
from train.audit.looks import STATISTICS, describe, place_of
from train.audit.measure import PhotoFacts
from train.audit.shortcuts import find_shortcuts
from train.audit.spreads import find_spreads

EACH = 40


def looks(image: BgrImage) -> dict[str, float]:
    values = describe(image, 6000)
    return {statistic.name: float(value) for statistic, value in zip(STATISTICS, values, strict=True)}


def plain(blue: int, green: int, red: int, height: int = 60, width: int = 80) -> BgrImage:
    return np.full((height, width, 3), (blue, green, red), np.uint8)


def test_looks_of_plain_colours() -> None:
    grey = looks(plain(128, 128, 128))
    assert grey["luma"] == pytest.approx(128 / 255, abs=1e-3)
    assert grey["contrast"] == grey["saturation"] == grey["red cast"] == grey["blue cast"] == 0
    red = looks(plain(0, 0, 255))
    assert red["hue"] % 360 == pytest.approx(0, abs=1)
    assert red["saturation"] == 1
    assert looks(plain(255, 0, 0))["hue"] == pytest.approx(240, abs=1)
    warm = looks(plain(63, 127, 255))
    assert (warm["red cast"], warm["blue cast"]) == (pytest.approx(1, abs=0.02), pytest.approx(-1, abs=0.02))
    assert looks(plain(255, 255, 255))["clipped"] == 1
    assert looks(plain(0, 0, 0))["luma"] == looks(plain(0, 0, 0))["red cast"] == 0


def test_border_is_seen_apart_from_the_middle() -> None:
    image = plain(200, 200, 200, 120, 120)
    image[10:110, 10:110] = (0, 0, 90)
    values = looks(image)
    assert values["border luma"] == pytest.approx(200 / 255, abs=0.01)
    assert values["border red cast"] == pytest.approx(0, abs=0.01)
    assert values["red cast"] > 0.2


def test_detail_falls_with_blur_and_not_with_contrast() -> None:
    texture = np.random.default_rng(0).normal(0, 12, (192, 256, 3))
    sharp = (scene(1) + texture).clip(0, 255).astype(np.uint8)
    pale = (sharp * 0.3 + 90).astype(np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 8), np.uint8)
    assert looks(pale)["sharpness"] < looks(sharp)["sharpness"] - 0.8
    assert looks(pale)["detail"] == pytest.approx(looks(sharp)["detail"], abs=0.1)
    assert looks(blurred)["detail"] < looks(sharp)["detail"] - 1


def test_looks_do_not_depend_on_size() -> None:
    large = np.asarray(cv2.resize(scene(2), (1024, 768), interpolation=cv2.INTER_CUBIC), np.uint8)
    larger = np.asarray(cv2.resize(scene(2), (2048, 1536), interpolation=cv2.INTER_CUBIC), np.uint8)
    first, second = looks(large), looks(larger)
    for name in ("luma", "contrast", "sharpness", "saturation", "border luma"):
        assert first[name] == pytest.approx(second[name], abs=0.06)
    assert (second["megapixels"], second["aspect"]) == (pytest.approx(3.146, abs=0.001), pytest.approx(4 / 3))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2)])
def test_tiny_photos_have_looks(size: tuple[int, int]) -> None:
    assert np.isfinite(describe(plain(10, 20, 30, *size), 700)).all()


def shaded(strengths: dict[str, float]) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Looks and labels of scenes drawn alike for every class, then multiplied by the class's strength."""
    rows, labels = [], []
    for index, (label, strength) in enumerate(strengths.items()):
        for number in range(EACH):
            rows.append(describe((scene(1000 * index + number) * strength).astype(np.uint8), 6000))
            labels.append(label)
    return np.stack(rows), np.array(labels)


def test_planted_brightness_is_a_short_cut_and_alarming() -> None:
    matrix, labels = shaded({"can": 1.0, "bottle": 0.75, "paper": 0.5})
    found = {entry.kind: entry for entry in find_shortcuts(matrix, [("class", labels)], np.arange(len(labels)))}
    assert found["light"].skill > 0.6
    assert found["light"].alarming
    assert found["border"].alarming
    assert found["all"].balanced == pytest.approx(np.mean(list(found["all"].recalls.values())))
    assert found["light"].chance == pytest.approx(1 / 3)


def test_without_it_every_kind_is_near_chance() -> None:
    matrix, labels = shaded({"can": 1.0, "bottle": 1.0, "paper": 1.0})
    found = find_shortcuts(matrix, [("class", labels)], np.arange(len(labels)))
    assert {entry.kind for entry in found} == {"light", "sharpness", "colour", "border", "file", "all"}
    for entry in found:
        assert abs(entry.skill) < 0.25, entry.kind
        assert not entry.alarming


def test_source_that_the_border_tells_is_alarming_in_colour_too() -> None:
    rows, sources, labels = [], [], []
    for number in range(2 * EACH):
        image = scene(number).astype(np.float64)
        image[..., 2] *= 0.5 if number % 2 else 1
        rows.append(describe(image.astype(np.uint8), 6000))
        sources.append("web" if number % 2 else "bin")
        labels.append("can" if number % 4 < 2 else "paper")
    targets = [("class", np.array(labels)), ("source", np.array(sources))]
    found = find_shortcuts(np.stack(rows), targets, np.arange(len(rows)))  # type: ignore[arg-type]
    colour = {entry.target: entry for entry in found if entry.kind == "colour"}
    assert colour["source"].alarming
    assert colour["source"].skill > 0.6
    assert colour["class"].skill < 0.45 < colour["source"].skill - 0.3


def test_folds_keep_groups_together_and_need_two() -> None:
    values = np.array(["a"] * 12 + ["b"] * 9)
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 10, 11, 12, 13, 14, 15])
    folds = fold_indices(values, groups)
    assert folds is not None
    assert sorted(np.concatenate([judge for _, judge in folds]).tolist()) == list(range(21))
    for learn, judge in folds:
        assert not set(groups[learn].tolist()) & set(groups[judge].tolist())
    assert fold_indices(values, np.where(values == "b", 99, groups)) is None


def facts_of(parts: list[str]) -> list[PhotoFacts]:
    first = PhotoFacts(
        photo=LabelledPhoto(Path("0.jpg"), "can"),
        name="set/can/0.jpg",
        source="set",
        part="train",
        digest="",
        format="JPEG RGB",
        width=4,
        height=3,
        hash=None,
        looks=np.zeros(len(STATISTICS)),
    )
    return [replace(first, name=f"set/can/{place}.jpg", part=part) for place, part in enumerate(parts)]  # type: ignore[arg-type]


def test_look_alikes_across_parts_are_counted() -> None:
    facts = facts_of(["train"] * 30 + ["val"] * 10)
    features = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    features[35] = features[2] + 0.05
    features[38] = features[36] * 3  # two validation photos: no leak
    copies = np.arange(40)
    copies[39] = copies[7]
    found, numbers = find_alike(facts, features, 0.9, copies)
    assert (found.groups, found.photos, found.largest, found.val_in_training) == (3, 6, 2, 2)
    assert numbers[35] == numbers[2]
    assert numbers[39] == numbers[7]
    assert not found.too_coarse


def test_features_that_tell_nothing_apart_are_not_believed() -> None:
    facts = facts_of(["train"] * 30 + ["val"] * 10)
    features = np.ones((40, 8), np.float32)
    found, numbers = find_alike(facts, features, 0.9, np.arange(40))
    assert found.too_coarse
    assert found.val_in_training == 0
    assert len(set(numbers.tolist())) == 40


def test_labels_need_two_classes_and_two_groups() -> None:
    facts = facts_of(["train"] * 20)
    features = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    assert check_labels(facts, features, ("can",), np.arange(20), "eye") == "there is only one class"
    other = [
        replace(fact, photo=LabelledPhoto(fact.photo.path, "glass")) if place < 8 else fact
        for place, fact in enumerate(facts)
    ]
    same = np.where(np.arange(20) < 8, 0, np.arange(20))
    assert "too few" in str(check_labels(other, features, ("can", "glass"), same, "eye"))


def test_copies_with_one_wrong_label_do_not_vouch_for_each_other() -> None:
    """Two copies in the wrong folder: apart they hide the error, in one fold they do not."""
    rng = np.random.default_rng(3)
    features = np.concatenate([rng.normal(0, 1, (30, 40)), rng.normal(0.8, 1, (30, 40))]).astype(np.float32)
    features[58:60] = rng.normal(0, 1, 40) * 2.5  # one photo, far out among the cans, twice, called glass
    labels = ["can"] * 30 + ["glass"] * 30
    facts = [
        replace(fact, photo=LabelledPhoto(fact.photo.path, label))
        for fact, label in zip(facts_of(["train"] * 60), labels, strict=True)
    ]
    together = np.arange(60)
    together[59] = 58
    own = {}
    for name, groups in (("apart", np.arange(60)), ("together", together)):
        check = check_labels(facts, features, ("can", "glass"), groups, "eye")
        assert not isinstance(check, str)
        own[name] = {entry.name: entry.own for entry in check.suspects}
    assert {"set/can/58.jpg", "set/can/59.jpg"} <= own["together"].keys()
    assert not {"set/can/58.jpg", "set/can/59.jpg"} & own["apart"].keys()


def test_mean_hue_goes_around_the_circle() -> None:
    facts = facts_of(["train"] * 4)
    column = place_of("hue")
    for fact, angle in zip(facts, (350, 10, 355, 5), strict=True):
        object.__setattr__(fact, "looks", np.zeros(len(STATISTICS)))
        fact.looks[column] = angle
    row = next(entry for entry in find_spreads(facts, ("can",), ("set",)) if entry.statistic == "hue")
    assert min(row.middle, 360 - row.middle) < 0.01
    assert row.high - row.middle == pytest.approx(8, abs=1)
