"""Duplicates among the photos: equal files, and near ones by their perceptual hash; groups, leaks, conflicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.audit.measure import PhotoFacts
from train.audit.records import Copies, CopyGroup, Member
from train.datasets.duplicates import NEAR_BITS, Pair, group_numbers, near_pairs


def find_copies(facts: Sequence[PhotoFacts]) -> tuple[Copies, NDArray[np.int64]]:
    """All groups of copies, and a group number per photo, int64 [photos]: alone is a group, too.

    Groups with several labels and those across parts come first, then the nearest.
    """
    equal = _equal_pairs(facts)
    near = near_pairs([fact.hash for fact in facts])
    numbers = group_numbers(len(facts), [*equal, *((pair.first, pair.second) for pair in near)])
    members: dict[int, list[int]] = defaultdict(list)
    for place, number in enumerate(numbers):
        members[int(number)].append(place)
    distances = _distances(facts, near, numbers)
    groups = [
        _group([facts[place] for place in places], distances.get(number, 0))
        for number, places in members.items()
        if len(places) > 1
    ]
    exact = {place for pair in equal for place in pair}
    copies = Copies(
        near_bits=NEAR_BITS,
        exact_photos=len(exact),
        near_photos=sum(len(group.members) for group in groups),
        groups=tuple(sorted(groups, key=_rank)),
    )
    return copies, numbers


def leaking(copies: Copies, part: str) -> int:
    """Photos of a part that have a copy among the training photos."""
    return sum(
        sum(member.part == part for member in group.members)
        for group in copies.groups
        if any(member.part == "train" for member in group.members)
    )


def _equal_pairs(facts: Sequence[PhotoFacts]) -> list[tuple[int, int]]:
    """Each file with the first one that equals it."""
    first: dict[str, int] = {}
    return [
        (first[fact.digest], place) for place, fact in enumerate(facts) if first.setdefault(fact.digest, place) != place
    ]


def _distances(facts: Sequence[PhotoFacts], near: Sequence[Pair], numbers: NDArray[np.int64]) -> dict[int, int]:
    """Per group the smallest distance of two photos that are not equal files."""
    found: dict[int, int] = {}
    for pair in near:  # nearest first
        if facts[pair.first].digest != facts[pair.second].digest:
            found.setdefault(int(numbers[pair.first]), pair.distance)
    return found


def _group(facts: Sequence[PhotoFacts], distance: int) -> CopyGroup:
    members = tuple(Member(name=fact.name, label=fact.label, part=fact.part) for fact in facts)
    return CopyGroup(exact=len({fact.digest for fact in facts}) == 1, distance=distance, members=members)


def _rank(group: CopyGroup) -> tuple[bool, bool, bool, int, str]:
    return (not group.labels_differ, not group.crosses_parts, not group.exact, group.distance, group.members[0].name)
