"""Photos that show the same: a perceptual hash of a photo, the pairs whose hashes are close, and groups of such pairs.

In: decoded photos. Out: hashes of 32 bytes, pairs with their distance, a group number per photo. Called by the audit
of a data set, and meant for every split or fold that must not tear such photos apart. Nothing is read from disk here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from smartbin.images import BgrImage

PhotoHash: TypeAlias = NDArray[np.uint8]
"""Bits of a perceptual hash, packed: uint8 [32]."""

NEAR_BITS = 50
"""Hashes that differ in at most as many of their 256 bits belong to photos that show the same.

Chosen on the 2,096 photos of the garbage data set: all 23 pairs up to it show the same item in the same pose (seen by
eye), the first pair that does not is at 52; and of the 15 million pairs of a photo and another one that was turned or
mirrored, whose nearness is chance, one is below 54.
"""

_HASH_SIDE = 16
_SIDE = 4 * _HASH_SIDE  # of the picture that the hash is taken from, as imagehash has it
_LEAST_DETAIL = 2.0  # standard deviation of that picture's levels: below it the hash would be that of noise
_BLOCK_ENTRIES = 4_000_000  # distances held at a time


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos, by their places in a list, and how many bits of their hashes differ."""

    first: int
    second: int
    distance: int


def photo_hash(image: BgrImage) -> PhotoHash | None:
    """Perceptual hash (DCT, 256 bits) of an image uint8 [H, W, 3] BGR; None if it is almost uniform."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    if float(grey.std()) < _LEAST_DETAIL:
        return None
    bits = imagehash.phash(Image.fromarray(grey), hash_size=_HASH_SIDE).hash
    return np.packbits(np.asarray(bits, np.bool_).ravel())


def near_pairs(hashes: Sequence[PhotoHash | None], most: int = NEAR_BITS) -> list[Pair]:
    """All pairs of hashes that differ in at most `most` bits, nearest first; a photo without a hash is in none.

    Every hash is compared with every other, block by block: memory stays flat, 10,000 photos take seconds.
    """
    places = np.array([place for place, found in enumerate(hashes) if found is not None], np.int64)
    if len(places) < 2:
        return []
    bits = np.unpackbits(np.stack([found for found in hashes if found is not None]), axis=1).astype(np.float32)
    ones = bits.sum(axis=1)
    pairs = []
    for start, stop in _blocks(len(places)):
        # |a xor b| = |a| + |b| - 2 |a and b|
        distances = ones[start:stop, None] + ones[None, :] - 2 * bits[start:stop] @ bits.T
        rows, columns = np.nonzero(distances <= most)
        for row, column in zip(rows, columns, strict=True):
            if start + row < column:
                first, second = int(places[start + row]), int(places[column])
                pairs.append(Pair(first, second, round(float(distances[row, column]))))
    return sorted(pairs, key=lambda pair: (pair.distance, pair.first, pair.second))


def group_numbers(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Group number of each of `count` photos, int64 [count]: those that pairs connect, even over others, share it."""
    first = np.array([pair[0] for pair in pairs], np.int64)
    second = np.array([pair[1] for pair in pairs], np.int64)
    graph = coo_array((np.ones(len(pairs), np.bool_), (first, second)), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(numbers, np.int64)


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _BLOCK_ENTRIES // count)
    for start in range(0, count, rows):
        yield start, min(start + rows, count)
