"""The perceptual hash keeps what is the same together and what differs apart; groups follow chains of pairs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from smartbin.images import BgrImage
from tests.train.scenes import scene
from train.datasets import duplicates
from train.datasets.duplicates import NEAR_BITS, PhotoHash, group_numbers, near_pairs, photo_hash


def hashed(image: BgrImage) -> PhotoHash:
    found = photo_hash(image)
    assert found is not None
    return found


def distance(first: BgrImage, second: BgrImage) -> int:
    return int(np.unpackbits(hashed(first) ^ hashed(second)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_same_scene_stays_near(seed: int) -> None:
    image = scene(seed)
    recoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    darker = (image * 0.7).astype(np.uint8)
    smaller = cv2.resize(image, (128, 96), interpolation=cv2.INTER_AREA)
    noisy = (image + np.random.default_rng(seed).normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)
    for changed in (recoded, darker, smaller, noisy):
        assert distance(image, np.asarray(changed, np.uint8)) <= NEAR_BITS


def test_different_scenes_are_far() -> None:
    assert near_pairs([photo_hash(scene(seed)) for seed in range(40)]) == []


def test_turned_scene_is_far() -> None:
    image = scene(3)
    assert distance(image, image[::-1]) > NEAR_BITS
    assert distance(image, image[:, ::-1]) > NEAR_BITS


def test_uniform_photo_has_no_hash_and_is_in_no_pair() -> None:
    grey = np.full((48, 64, 3), 90, np.uint8)
    assert photo_hash(grey) is None
    first = hashed(scene(1))
    assert [(pair.first, pair.second) for pair in near_pairs([None, first, None, first])] == [(1, 3)]
    assert near_pairs([None, first]) == []


def test_pairs_are_those_of_plain_counting_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, 32, np.uint8)
    hashes = []
    for _ in range(60):  # between 0 and 90 bits away from one hash, so that many pairs are near and many are not
        bits = np.unpackbits(base)
        bits[rng.choice(256, rng.integers(0, 60), replace=False)] ^= 1
        hashes.append(np.packbits(bits))
    expected = sorted(
        (int(np.unpackbits(hashes[first] ^ hashes[second]).sum()), first, second)
        for first in range(60)
        for second in range(first + 1, 60)
        if np.unpackbits(hashes[first] ^ hashes[second]).sum() <= 40
    )
    assert 100 < len(expected) < 1700
    for entries in (1, 500, 10_000):
        monkeypatch.setattr(duplicates, "_BLOCK_ENTRIES", entries)
        assert [(pair.distance, pair.first, pair.second) for pair in near_pairs(hashes, 40)] == expected


def test_groups_follow_chains() -> None:
    numbers = group_numbers(7, [(0, 3), (3, 5), (6, 1)])
    assert numbers[0] == numbers[3] == numbers[5]
    assert numbers[1] == numbers[6]
    assert len(set(numbers.tolist())) == 4
    assert len(set(group_numbers(4, []).tolist())) == 4
