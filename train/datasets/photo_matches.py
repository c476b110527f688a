"""Pairs of photos with the same print, turned, shifted or seen askew: matched corners that agree in geometry.

In: photos and descriptors that say which ones are worth comparing. Out: pairs. This finds an object again when it lies
differently, which looks quite different to a descriptor of the whole photo. Called by `train/datasets/photo_groups.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.images import BgrImage, LabelledPhoto
from train.cache.reading import PhotoStore
from train.console import progress

LEAST_MATCHES = 20
"""Corners that agree in one homography. Seen by eye, 36 pairs of the garbage data set's photos each: from 20 on 33 show
the same object or another with the same print, from 16 on 29, from 12 to 15 half."""

_NEIGHBOURS = 3
_SIDE = 256  # longest side of the photo that corners are looked for in, pixels
_CORNERS = 500
_CLEARLY_BEST = 0.8  # distance of the best match by that of the second best, at most (Lowe, 2004)
_TOLERANCE = 4.0  # pixels
_TRIES = 500  # enough to find, in 98 of 100 cases, a homography that 30 % of the matches agree in


@dataclass(frozen=True, slots=True)
class _Corners:
    """Corners of a photo: places [N, 2] and ORB descriptors [N, 32]."""

    places: NDArray[np.float32]
    bits: NDArray[np.uint8]


def matching_pairs(
    photos: Sequence[LabelledPhoto], store: PhotoStore, descriptors: NDArray[np.float32]
) -> list[tuple[int, int]]:
    """Pairs of places in `photos` with the same print; each photo is compared with its nearest ones by `descriptors`.

    Blocks: some 20 ms a photo.
    """
    candidates = neighbour_pairs(descriptors, _NEIGHBOURS)
    corners: list[_Corners] = []
    pairs: list[tuple[int, int]] = []
    with progress("looking for the same print", len(photos) + len(candidates)) as advance:
        for photo in photos:
            corners.append(_corners(store.training_image(photo.path)))
            advance(1, "")
        for first, second in candidates:
            if _agreeing(corners[first], corners[second]) >= LEAST_MATCHES:
                pairs.append((first, second))
            advance(1, "")
    return pairs


def neighbour_pairs(descriptors: NDArray[np.float32], count: int) -> list[tuple[int, int]]:
    """Each row of [N, D] with its `count` nearest others; each pair once, the smaller place first."""
    count = min(count, len(descriptors) - 1)
    found: set[tuple[int, int]] = set()
    if count < 1:
        return []
    for place, row in enumerate(descriptors):
        likeness = descriptors @ row
        likeness[place] = -np.inf
        for other in np.argpartition(-likeness, count - 1)[:count]:
            found.add((min(place, int(other)), max(place, int(other))))
    return sorted(found)


def _corners(image: BgrImage) -> _Corners:
    factor = min(1.0, _SIDE / max(image.shape[:2]))
    grey = cv2.cvtColor(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    points, bits = cv2.ORB.create(nfeatures=_CORNERS).detectAndCompute(grey, None)
    if not points:
        return _Corners(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))
    return _Corners(np.array([point.pt for point in points], np.float32), np.asarray(bits, np.uint8))


def _agreeing(first: _Corners, second: _Corners) -> int:
    """Corners of the first photo that lie in the second one where a single homography puts them; 0 if they are few."""
    if min(len(first.bits), len(second.bits)) < LEAST_MATCHES:
        return 0
    matches = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(first.bits, second.bits, k=2)
    clear = [best for best, other in matches if best.distance < _CLEARLY_BEST * other.distance]
    if len(clear) < LEAST_MATCHES:
        return 0
    here = first.places[[match.queryIdx for match in clear]]
    there = second.places[[match.trainIdx for match in clear]]
    _, agreeing = cv2.findHomography(here, there, cv2.RANSAC, _TOLERANCE, maxIters=_TRIES)
    return 0 if agreeing is None else int(agreeing.sum())
