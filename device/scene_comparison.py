"""How presence compares two pictures of cells: fits the light of one to the other, and looks for edges that are new.

Float32 grids [h, w, 3] BGR of a frame and of the empty scene come in; numbers and grids go out. Levels are of 255.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Grid: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, width and height as parts of what was compared."""

_THIRDS = np.full((1, 3), 1 / 3, np.float32)
_MIN_GAIN = 0.02
_FIT_ROUNDS = 3
_OUTLIER = 2.5  # times the robust spread; further off is taken for an item
_OFFSET_STIFFNESS = 0.02  # ridge on the offset: a scene without contrast must not trade gain for offset
_MAD_TO_SIGMA = 1.4826
_EDGE_LEVEL = 12.0  # levels a cell, from where on the empty scene has an edge
_MIN_EDGES = 0.01  # a scene with fewer edges cannot tell a change of view
_RIM = 1.2  # cells: what changes over a wider way is the rim of a shadow
_DIM_SHARE = 0.06  # of the mean level, added to both sides of a ratio, which the darkest cells would make of noise


def match_light(background: Grid, cells: Grid) -> tuple[Grid, float]:
    """What the empty scene [h, w, 3] would look like in the light of `cells` [h, w, 3], and the mean gain.

    A straight line a channel, fitted by least squares over the cells that lie within 2.5 robust standard deviations;
    starts at the median ratio, so up to half of the cells may be an item.
    """
    expected = np.empty_like(background)
    gains = []
    for channel in range(background.shape[2]):
        x, y = background[::2, ::2, channel].ravel(), cells[::2, ::2, channel].ravel()  # a quarter is plenty
        gain, offset = median(np.asarray(y / np.maximum(x, 4.0), np.float32)), 0.0
        for _ in range(_FIT_ROUNDS):
            gain, offset = _refit(x, y, gain, offset)
        expected[..., channel] = gain * background[..., channel] + offset
        gains.append(gain)
    return expected, float(np.mean(gains))


def _refit(x: Grid, y: Grid, gain: float, offset: float) -> tuple[float, float]:
    residual = np.abs(y - (gain * x + offset))
    kept = residual <= max(_OUTLIER * _MAD_TO_SIGMA * median(residual), 1.0)
    x, y = x[kept], y[kept]
    count, mean_x, mean_y = len(x), float(x.mean()), float(y.mean())
    # least squares of y = gain x + offset with a ridge on the offset
    ridge = count * (1.0 + _OFFSET_STIFFNESS)
    sxx = float(x @ x) - (count * mean_x) ** 2 / ridge
    sxy = float(x @ y) - count * mean_x * count * mean_y / ridge
    gain = max(sxy / max(sxx, 1e-3), _MIN_GAIN)
    return gain, count * (mean_y - gain * mean_x) / ridge


def new_edges(expected: Grid, seen: Grid) -> Grid:
    """How steep the edges [h, w] are that `seen` [h, w, 3] has and `expected` has not, levels a cell.

    The steepest channel counts. Edges of the ratio, so that those of what a shadow falls on cancel; and narrow ones,
    since a shadow's rim is wide.
    """
    dim = max(_DIM_SHARE * float(expected.mean()), 1.0)
    weight = np.maximum(expected, 0.0) + dim
    ratio = (seen + dim) / weight
    narrow = ratio - cv2.GaussianBlur(ratio, (0, 0), _RIM)
    steepness = _slope(np.asarray(narrow, np.float32)) * weight
    return np.asarray(steepness.max(axis=2), np.float32)


def box_of(changed: NDArray[np.bool_]) -> Box | None:
    """The box around the largest connected part of the changed cells bool [h, w], None if nothing changed."""
    _, _, found, _ = cv2.connectedComponentsWithStats(changed.astype(np.uint8), connectivity=8)
    if len(found) < 2:
        return None
    left, top, width, height, _ = found[1 + int(np.argmax(found[1:, cv2.CC_STAT_AREA]))].tolist()
    rows, columns = changed.shape
    return left / columns, top / rows, width / columns, height / rows


def median(values: Grid) -> float:
    """The upper median: a third of the time of `np.median`, which averages the two middle values."""
    flat = values.ravel()
    middle = flat.size // 2
    return float(np.partition(flat, middle)[middle])


def lower_quarter(values: Grid) -> float:
    """A quarter of the values lie below it."""
    flat = values.ravel()
    place = flat.size // 4
    return float(np.partition(flat, place)[place])


def surviving_edges(background: Grid, cells: Grid, gain: float) -> float:
    """The part of the empty scene's edges that the frame still has, in the same direction; 1 where it has no edges."""
    old_x, old_y = _slopes(plane_of(background))
    old = old_x**2 + old_y**2
    strong = old > _EDGE_LEVEL**2
    if strong.mean() < _MIN_EDGES:
        return 1.0
    new_x, new_y = _slopes(plane_of(cells))
    along = old_x * new_x + old_y * new_y
    return float((along > 0.5 * gain * old)[strong].mean())


def _slopes(cells: Grid) -> tuple[Grid, Grid]:
    across = cv2.Sobel(cells, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)
    down = cv2.Sobel(cells, cv2.CV_32F, 0, 1, ksize=3, scale=0.25)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _slope(cells: Grid) -> Grid:
    across, down = _slopes(cells)
    return np.sqrt(across * across + down * down)


def plane_of(cells: Grid) -> Grid:
    """Mean of the three channels, [h, w]."""
    return np.asarray(cv2.transform(cells, _THIRDS), np.float32)
