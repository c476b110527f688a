"""Photos whose features nearly agree: mostly one item, photographed from another side or moved a little.

Not duplicates, but a network that learned from one knows the other. They are counted across parts, and kept together
in the folds of the label check.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.audit.measure import PhotoFacts
from train.audit.records import AlikeGroups
from train.datasets.duplicates import group_numbers

_BLOCK = 512
_MOST_SHARE = 0.05  # of the photos in one group; beyond it, the features do not tell items apart
_FEW = 20


def alike_pairs(features: NDArray[np.float32], least: float) -> list[tuple[int, int]]:
    """Pairs of rows of features [N, F] whose cosine is above `least`; memory stays flat as N grows."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(lengths, 1e-12)
    pairs = []
    for start in range(0, len(unit), _BLOCK):
        rows, columns = np.nonzero(unit[start : start + _BLOCK] @ unit.T > least)
        keep = rows + start < columns
        pairs += list(zip((rows[keep] + start).tolist(), columns[keep].tolist(), strict=True))
    return pairs


def find_alike(
    facts: Sequence[PhotoFacts], features: NDArray[np.float32], least: float, copies: NDArray[np.int64]
) -> tuple[AlikeGroups, NDArray[np.int64]]:
    """What looks alike or is a copy, counted, and a group number per photo [N] that joins both.

    When more than a twentieth of the photos end up in one group, the features are too coarse: the copies' groups come
    back as they were.
    """
    same = [(int(np.flatnonzero(copies == number)[0]), place) for place, number in enumerate(copies)]
    pairs = alike_pairs(features, least)
    numbers = group_numbers(len(facts), [*same, *pairs])
    sizes = np.bincount(numbers)
    coarse = int(sizes.max()) > max(_FEW, _MOST_SHARE * len(facts))
    if coarse:
        numbers = copies
        sizes = np.bincount(numbers)
    training = {int(number) for number, fact in zip(numbers, facts, strict=True) if fact.part == "train"}
    straddling = {
        part: sum(fact.part == part and int(number) in training for number, fact in zip(numbers, facts, strict=True))
        for part in ("val", "test")
    }
    groups = AlikeGroups(
        least=least,
        too_coarse=coarse,
        groups=int((sizes > 1).sum()),
        photos=int(sizes[sizes > 1].sum()),
        largest=int(sizes.max()),
        val_in_training=straddling["val"],
        test_in_training=straddling["test"],
    )
    return groups, numbers
