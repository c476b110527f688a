"""The part of the picture that the bin looks at: the intake, without the wall beside it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BeforeValidator

from smartbin.images import BgrImage

_SMALLEST = 0.05
_ROUNDING = 1e-6


def _read_region(value: object) -> object:
    """Four numbers that lie in the picture, or an error that says what they must be."""
    rule = (
        f"[x, y, width, height] in parts of the picture, each side at least {_SMALLEST}, x + width and y + height to 1"
    )
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        raise ValueError(rule)
    if any(isinstance(part, bool) or not isinstance(part, (int, float)) for part in value):
        raise ValueError(rule)
    x, y, width, height = (float(part) for part in value)
    inside = x >= 0 and y >= 0 and x + width <= 1 + _ROUNDING and y + height <= 1 + _ROUNDING
    if not inside or width < _SMALLEST or height < _SMALLEST:
        raise ValueError(rule)
    return (x, y, width, height)


Region: TypeAlias = Annotated[tuple[float, float, float, float], BeforeValidator(_read_region)]
"""Left, top, width and height, in parts of the picture."""


def crop_region(image: BgrImage, region: Region | None) -> BgrImage:
    """The region of an image [H, W, 3], a view of at least one pixel; None is all of it."""
    if region is None:
        return image
    height, width = image.shape[:2]
    x, y, part_wide, part_high = region
    left, top = min(round(x * width), width - 1), min(round(y * height), height - 1)
    right, bottom = max(left + 1, round((x + part_wide) * width)), max(top + 1, round((y + part_high) * height))
    return image[top:bottom, left:right]
