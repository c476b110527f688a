"""A photo of an item on a plain board to a cut-out: the item, how opaque each pixel is, and whether to trust it.

Called once per training photo when scenes are asked for (`train/augmentation/scenes.py`). The garbage photos show one
item on a light board under a lamp: the board is a smooth surface, so a quadratic through the border of the picture
describes it, and what differs from it is the item. GrabCut (Rother et al., 2004) then finds the outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from smartbin.images import BgrImage

_WORK_WIDTH = 160
_KEPT_WIDTH = 288
_BORDER = 0.06  # of the width, where the board is looked for
_FIT_ROUNDS = 4
_GRABCUT_ROUNDS = 3
_CERTAIN, _POSSIBLE = 26.0, 11.0  # distances in Lab from the board: surely item, perhaps item

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CutOut:
    """An item without its photo, cropped to its outline."""

    image: BgrImage
    """uint8 [h, w, 3] BGR."""
    alpha: NDArray[np.uint8]
    """uint8 [h, w]: 255 is item, 0 is board; the edge is feathered."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What speaks for and against a mask; parts from 0 to 1."""

    area: float
    """Of the photo that the item covers."""
    touching: float
    """Of the photo's border that the item covers: it is cropped there."""
    main_piece: float
    """Of the item's area that is one piece."""
    solidity: float
    """Of its convex hull that the item covers: a frayed outline has little."""
    contrast: float
    """Mean distance in Lab from the board just inside the outline, less that just outside."""

    @property
    def good(self) -> bool:
        """Whether the item is whole, in one piece and well apart from the board."""
        return (
            0.03 <= self.area <= 0.75
            and self.touching <= 0.12
            and self.main_piece >= 0.9
            and self.solidity >= 0.72
            and self.contrast >= 8.0
        )


def cut_out(image: BgrImage) -> tuple[CutOut | None, Quality]:
    """The item of a photo uint8 [H, W, 3] BGR, or None where the mask is not `Quality.good`."""
    small = _shrunk(image, _WORK_WIDTH)
    distance = _distance_from_board(small)
    mask = _outlined(small, distance)
    quality = _judge(mask, distance)
    if not quality.good:
        return None, quality
    kept = _shrunk(image, _KEPT_WIDTH)
    size = (kept.shape[1], kept.shape[0])
    whole = _main_piece(mask).astype(np.float32)
    alpha = cv2.GaussianBlur(cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR), (0, 0), 1.2)
    alpha = np.clip((alpha - 0.35) / 0.5, 0.0, 1.0)  # the outermost pixels are board as much as item
    rows, columns = np.flatnonzero(alpha.max(axis=1)), np.flatnonzero(alpha.max(axis=0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return CutOut(kept[window].copy(), np.rint(alpha[window] * 255).astype(np.uint8)), quality


def board_of(image: BgrImage) -> Floats:
    """The board alone, as the quadratic surface through the border: float32 [H, W, 3], colours of `image`'s scale."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = rows / height - 0.5, columns / width - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1).reshape(-1, 6)
    edge = max(2, round(_BORDER * width))
    border = np.ones((height, width), bool)
    border[edge:-edge, edge:-edge] = False
    colours = image.reshape(-1, 3).astype(np.float32)
    used = np.flatnonzero(border)
    for _ in range(_FIT_ROUNDS):  # each time without what lies far from the surface: an item at the border
        weights, *_ = np.linalg.lstsq(terms[used], colours[used], rcond=None)
        misses = np.abs(colours[used] - terms[used] @ weights).max(axis=1)
        near = misses <= max(6.0, 2.0 * float(np.median(misses)))
        used = used[near]
    surface: Floats = (terms @ weights).reshape(height, width, 3).astype(np.float32)
    return surface


def _distance_from_board(image: BgrImage) -> Floats:
    """How far each pixel is from the board in Lab, lightness counting half (a shadow is dark, but not coloured)."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    board = cv2.cvtColor(np.clip(board_of(image) / 255, 0, 1).astype(np.float32), cv2.COLOR_BGR2Lab)
    difference = (lab - board) * np.array([0.6, 1.4, 1.4], np.float32)
    edges = cv2.morphologyEx(lab[..., 0], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    distance: Floats = np.linalg.norm(difference, axis=-1) + 0.5 * edges
    return np.asarray(cv2.GaussianBlur(distance, (0, 0), 1.0), np.float32)


def _outlined(image: BgrImage, distance: Floats) -> NDArray[np.bool_]:
    """GrabCut from the distances; holes are filled, since they are mostly shine or transparent glass."""
    marks = np.full(distance.shape, cv2.GC_BGD, np.uint8)
    marks[distance > 0.6 * _POSSIBLE] = cv2.GC_PR_BGD
    marks[distance > _POSSIBLE] = cv2.GC_PR_FGD
    marks[distance > _CERTAIN] = cv2.GC_FGD
    if (marks >= cv2.GC_PR_BGD).any() and (marks == cv2.GC_FGD).any() and (marks == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(image, marks, (0, 0, 1, 1), *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    item = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    closed = cv2.morphologyEx(item, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    mask = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled.astype(bool)


def _main_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


def _judge(mask: NDArray[np.bool_], distance: Floats) -> Quality:
    main = _main_piece(mask)
    if not main.any():
        return Quality(0.0, 0.0, 0.0, 0.0, 0.0)
    border = np.concatenate([main[0], main[-1], main[:, 0], main[:, -1]])
    outlines, _ = cv2.findContours(main.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(max(outlines, key=len))
    hull_area = max(1.0, float(cv2.contourArea(hull)))
    kernel = np.ones((5, 5), np.uint8)
    inside = main & ~cv2.erode(main.astype(np.uint8), kernel, borderValue=1).astype(bool)
    outside = cv2.dilate(main.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~main
    contrast = float(distance[inside].mean() - distance[outside].mean()) if inside.any() and outside.any() else 0.0
    return Quality(
        area=float(main.mean()),
        touching=float(border.mean()),
        main_piece=float(main.sum() / mask.sum()),
        solidity=min(1.0, float(main.sum()) / hull_area),
        contrast=contrast,
    )


def _shrunk(image: BgrImage, width: int) -> BgrImage:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
