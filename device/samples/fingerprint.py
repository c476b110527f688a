"""How alike two pictures look: a difference hash, and the part of its bits in which two of them differ.

Of the picture, shrunk to 17 × 16 grey pixels, the 256 bits say where it gets brighter to the right. Sixteen rows rather
than the usual eight, because all pictures of a bin share their background: on the built-in scene two frames of one item
lying still differ in .11 of the bits at most, and those of two items in .16 at least; with 8 × 8 bits the two overlap.
"""

from __future__ import annotations

import cv2
import numpy as np

from smartbin.images import BgrImage

_SIDE = 16
BITS = _SIDE * _SIDE


def fingerprint(image: BgrImage) -> int:
    """The 256 bits of a picture, uint8 [H, W, 3] BGR, as a number."""
    small = cv2.resize(image, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def difference(one: int, other: int) -> float:
    """Part of the bits that differ, 0 to 1; two unlike pictures come to about a half or less."""
    return (one ^ other).bit_count() / BITS
