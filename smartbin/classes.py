"""Class names: the data sets' own, and the check that any list of them has to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from smartbin.errors import DataError

GARBAGE_CLASSES: tuple[str, ...] = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
"""The six classes of the garbage data set (TrashNet), in the order of its folders."""

RECYCLE_TO_GARBAGE: Mapping[str, str] = MappingProxyType(
    {
        "boxes": "cardboard",
        "glass_bottles": "glass",
        "soda_cans": "metal",
        "crushed_soda_cans": "metal",
        "water_bottles": "plastic",
    }
)
"""The recycle data set's five classes as classes of the garbage data set."""


def check_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Return `names` as a tuple; `DataError` unless there are two or more, none empty or padded, none twice."""
    found = list(names)
    if len(found) < 2:
        raise DataError("too few classes", found=found or "none", expected="two or more")
    if bad := [name for name in found if not name or name != name.strip() or not name.isprintable()]:
        raise DataError("unusable class names", found=bad, expected="printable names without spaces around them")
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise DataError("class names that occur twice", found=twice, expected="each class once")
    return tuple(found)
