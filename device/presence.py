"""Is something in the bin? Every frame is compared with the empty scene that was learned.

The comparison survives a change of light: each colour channel of the learned scene is first fitted to the frame (gain
and offset, robustly, so that an item does not spoil the fit). What then still differs must also have edges that the
scene has not: a shadow has a wide rim, and leaves the edges of what it falls on in proportion. The caller is the
pipeline; images come in, a `PresenceReading` goes out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from device.region import Region
from smartbin.images import BgrImage

Grid: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, width and height as parts of what was compared."""

_THIRDS = np.full((1, 3), 1 / 3, np.float32)
_BLIND_LEVEL = 1.5  # mean level (of 255) below which a frame holds nothing to compare
_MIN_GAIN = 0.02
_FIT_ROUNDS = 3
_OUTLIER = 2.5  # times the robust spread; further off is taken for an item
_OFFSET_STIFFNESS = 0.02  # ridge on the offset: a scene without contrast must not trade gain for offset
_MAX_NOISE = 6.0  # levels; more than that between two frames is movement, not noise
_MAD_TO_SIGMA = 1.4826
_QUARTER_TO_SIGMA = 3.138
_EDGE_LEVEL = 12.0  # levels a cell, from where on the empty scene has an edge
_GOOD_LEVEL = 128.0  # mean level of a picture in good light; thresholds shrink with a darker one
_RIM = 1.2  # cells: what changes over a wider way is the rim of a shadow
_EDGE_NOISE = 6.0  # times the noise; the slope of noise alone is about as large
_DIM_SHARE = 0.06  # of the mean level, added to both sides of a ratio, which the darkest cells would make of noise
_EARLIER_SCENES = 3
_QUICK = 4  # samples along the side of a cell; each is the mean of four pixels
_MIN_EDGES = 0.01  # a scene with fewer edges cannot tell a change of view


class PresenceSettings(BaseModel):
    """How an item is told from the empty bin. Parts are fractions of the picture, levels are of 255 in good light."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: int = Field(default=80, ge=16, le=320, description="width of the grid of cells that is compared")
    learn_frames: int = Field(default=5, ge=1, description="frames that the empty scene is learned from at the start")
    level: float = Field(default=10.0, gt=0, description="a cell has changed when it differs by more than this")
    edge_level: float = Field(default=8.0, gt=0, description="a cell has a new edge when the slope differs by more")
    enter_area: float = Field(default=0.02, gt=0, lt=1, description="changed part from which an item is there")
    leave_area: float = Field(default=0.01, gt=0, lt=1, description="changed part below which it has gone")
    enter_edges: float = Field(default=0.008, gt=0, lt=1, description="part with new edges from which an item is there")
    motion_level: float = Field(default=8.0, gt=0, description="a cell moves when it differs more from the last frame")
    still_area: float = Field(default=0.01, gt=0, lt=1, description="moving part up to which the picture is still")
    drift_s: float = Field(
        default=20.0, gt=0, description="time constant with which the empty scene follows the real one"
    )
    absorb_s: float = Field(
        default=120.0, gt=0, description="something that lies still for so long is part of the scene"
    )
    view_change_area: float = Field(default=0.4, gt=0, le=1, description="changed part that may be another view")
    view_change_edges: float = Field(default=0.3, ge=0, lt=1, description="below this part of the old edges it is one")
    region: Region | None = Field(
        default=None,
        description="[x, y, width, height] in parts of the picture: only this is looked at; default all. One that is "
        "drawn on the page holds until this is changed",
    )


@dataclass(frozen=True, slots=True)
class PresenceReading:
    """What one frame says: whether an item is there, whether it is still, and the measurements behind that."""

    present: bool
    still: bool
    area: float = 0.0
    edges: float = 0.0
    motion: float = 0.0
    sharpness: float = 0.0
    gain: float = 1.0
    learning: bool = False
    box: Box | None = None
    """Where the item is, while one is there."""


class PresenceDetector:
    """Learns the empty scene from its first frames, follows its drift, and learns it anew when the view changes."""

    def __init__(self, settings: PresenceSettings | None = None) -> None:
        self._settings = settings if settings is not None else PresenceSettings()
        self._background: Grid | None = None
        self._earlier: deque[Grid] = deque(maxlen=_EARLIER_SCENES)  # before what lay there became part of the scene
        self._learned = 0
        self._last: Grid | None = None
        self._last_s = 0.0
        self._present = False
        self._still_since_s: float | None = None
        self._jumped = False
        self._was_still = True
        self._noise = 0.5

    def update(self, now_s: float, image: BgrImage) -> PresenceReading:
        """Compare one frame, uint8 [H, W, 3] BGR, taken at `now_s`. About a millisecond at 640 x 480."""
        cells = self._cells(image)
        plane = _plane(cells)
        last, since_s = self._last, max(0.0, now_s - self._last_s)
        self._last, self._last_s = plane, now_s
        sharpness = _sharpness(plane)
        if last is not None and plane.shape != last.shape:
            self.relearn()
        if self._background is None:
            last = None
        motion = self._motion(plane, last)
        still = motion <= self._settings.still_area
        if float(cells.mean()) < _BLIND_LEVEL and self._background is not None:
            return PresenceReading(self._present, still, sharpness=sharpness, gain=0.0)
        if self._background is None or self._learned < self._settings.learn_frames:
            return self._learn(cells, still, motion, sharpness)
        return self._compare(self._background, cells, now_s, since_s, still, motion, sharpness)

    def relearn(self) -> None:
        """Forget the empty scene; the next frames are it."""
        self._earlier.clear()
        self._begin_anew(None)

    def _begin_anew(self, background: Grid | None) -> None:
        """With a scene that is known, or, None, with one that is to be learned."""
        self._background, self._learned = background, 0 if background is None else self._settings.learn_frames
        self._present, self._jumped, self._still_since_s = False, False, None

    def _cells(self, image: BgrImage) -> Grid:
        height, width = image.shape[:2]
        rows = max(4, round(self._settings.columns * height / width))
        if width >= _QUICK * self._settings.columns and height >= _QUICK * rows:  # many pixels a cell: sixteen will do
            quick = (_QUICK * self._settings.columns, _QUICK * rows)
            image = np.asarray(cv2.resize(image, quick, interpolation=cv2.INTER_LINEAR), np.uint8)
        # as floats: in the dark, whole levels would hide the noise, and what is little darker than the rest
        small = cv2.resize(image.astype(np.float32), (self._settings.columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(small, (3, 3), 0), np.float32)

    def _motion(self, plane: Grid, before: Grid | None) -> float:
        """The part of the cells that changed since the last frame, a change of the whole light taken out."""
        if before is None:
            return 0.0
        brighter = _median(np.asarray(plane / np.maximum(before, 1.0), np.float32))
        spread = np.abs(plane - brighter * before)
        level = max(float(plane.mean()) / 128.0, _MIN_GAIN)  # movement in the dark is small in levels
        noise = min(_lower_quarter(spread) * _QUARTER_TO_SIGMA, _MAX_NOISE)  # up to three quarters may have moved
        self._noise += 0.2 * (noise - self._noise)
        threshold = max(self._settings.motion_level * min(level, 1.0), 6.0 * self._noise, 1.0)
        return float((spread > threshold).mean())

    def _learn(self, cells: Grid, still: bool, motion: float, sharpness: float) -> PresenceReading:
        self._learned += 1
        if self._background is None:
            self._background = cells.copy()
        else:
            self._background += (cells - self._background) / self._learned
        return PresenceReading(False, still, motion=motion, sharpness=sharpness, learning=True)

    def _compare(
        self, background: Grid, cells: Grid, now_s: float, since_s: float, still: bool, motion: float, sharpness: float
    ) -> PresenceReading:
        settings = self._settings
        expected, gain = match_light(background, cells)
        changed, edges = self._differences(expected, cells)
        area = float(changed.mean())
        if self._view_changed(background, cells, area, gain, still, motion):
            self.relearn()
            return self._learn(cells, still, motion, sharpness)
        needed = settings.leave_area if self._present else settings.enter_area
        needed_edges = settings.enter_edges * (0.5 if self._present else 1.0)
        self._present = area >= needed and edges >= needed_edges and not self._jumped
        if self._present and self._is_earlier_scene(cells):
            return PresenceReading(False, still, motion=motion, sharpness=sharpness, gain=gain)
        self._follow(background, cells, expected, gain, now_s, since_s, still)
        box = box_of(changed) if self._present else None
        return PresenceReading(self._present, still, area, edges, motion, sharpness, gain, box=box)

    def _differences(self, expected: Grid, cells: Grid) -> tuple[NDArray[np.bool_], float]:
        """Which cells are not as expected, bool [h, w], and the part of the cells that have a new edge."""
        light = min(float(expected.mean()) / _GOOD_LEVEL, 1.0)
        level = max(self._settings.level * light, 6.0 * self._noise, 1.0)
        edge_level = max(self._settings.edge_level * light, _EDGE_NOISE * self._noise, 1.0)
        changed = np.abs(cells - expected).max(axis=2) > level
        return changed, float((new_edges(expected, cells) > edge_level).mean())

    def _is_earlier_scene(self, cells: Grid) -> bool:
        """Whether what had become part of the scene was taken away again; then the scene is what it was before."""
        for place in reversed(range(len(self._earlier))):
            expected, _ = match_light(self._earlier[place], cells)
            changed, edges = self._differences(expected, cells)
            if changed.mean() < self._settings.leave_area or edges < 0.5 * self._settings.enter_edges:
                earlier = self._earlier[place]
                while len(self._earlier) > place:
                    self._earlier.pop()
                self._begin_anew(earlier)
                return True
        return False

    def _view_changed(
        self, background: Grid, cells: Grid, area: float, gain: float, still: bool, motion: float
    ) -> bool:
        """A cut to another view: one frame on which nearly all changes and the old edges are gone, then stillness.

        An item that fills the picture gets there by moving, over several frames.
        """
        settings = self._settings
        gone = (
            area >= settings.view_change_area and surviving_edges(background, cells, gain) < settings.view_change_edges
        )
        was_still, self._was_still = self._was_still, still
        if self._jumped:
            self._jumped = False
            return gone and still
        self._jumped = gone and was_still and motion >= settings.view_change_area
        return False

    def _follow(
        self, background: Grid, cells: Grid, expected: Grid, gain: float, now_s: float, since_s: float, still: bool
    ) -> None:
        """Let the empty scene drift while nothing is there, and absorb what has been lying still for very long."""
        if not self._present:
            self._still_since_s = None
            if still and gain > 0.25 and not self._jumped:
                share = 1.0 - float(np.exp(-since_s / self._settings.drift_s))
                background += share * (cells - expected) / gain
            return
        if not still or self._still_since_s is None:
            self._still_since_s = now_s
        elif now_s - self._still_since_s >= self._settings.absorb_s:
            self._earlier.append(background)
            self._begin_anew(None)


def match_light(background: Grid, cells: Grid) -> tuple[Grid, float]:
    """What the empty scene [h, w, 3] would look like in the light of `cells` [h, w, 3], and the mean gain.

    A straight line a channel, fitted by least squares over the cells that lie within 2.5 robust standard deviations;
    starts at the median ratio, so up to half of the cells may be an item.
    """
    expected = np.empty_like(background)
    gains = []
    for channel in range(background.shape[2]):
        x, y = background[::2, ::2, channel].ravel(), cells[::2, ::2, channel].ravel()  # a quarter is plenty
        gain, offset = _median(np.asarray(y / np.maximum(x, 4.0), np.float32)), 0.0
        for _ in range(_FIT_ROUNDS):
            gain, offset = _refit(x, y, gain, offset)
        expected[..., channel] = gain * background[..., channel] + offset
        gains.append(gain)
    return expected, float(np.mean(gains))


def _refit(x: Grid, y: Grid, gain: float, offset: float) -> tuple[float, float]:
    residual = np.abs(y - (gain * x + offset))
    kept = residual <= max(_OUTLIER * _MAD_TO_SIGMA * _median(residual), 1.0)
    x, y = x[kept], y[kept]
    count, mean_x, mean_y = len(x), float(x.mean()), float(y.mean())
    # least squares of y = gain x + offset with a ridge on the offset
    ridge = count * (1.0 + _OFFSET_STIFFNESS)
    sxx = float(x @ x) - (count * mean_x) ** 2 / ridge
    sxy = float(x @ y) - count * mean_x * count * mean_y / ridge
    gain = max(sxy / max(sxx, 1e-3), _MIN_GAIN)
    return gain, count * (mean_y - gain * mean_x) / ridge


def new_edges(expected: Grid, seen: Grid) -> Grid:
    """How steep the edges [h, w] are that `seen` [h, w, 3] has and `expected` has not: levels a cell, steepest channel.

    Of the ratio, so that the edges of what a shadow falls on cancel; without what changes over a wide way, as a shadow's
    rim does.
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


def _median(values: Grid) -> float:
    """The upper median: a third of the time of `np.median`, which averages the two middle values."""
    flat = values.ravel()
    middle = flat.size // 2
    return float(np.partition(flat, middle)[middle])


def _lower_quarter(values: Grid) -> float:
    """A quarter of the values lie below it."""
    flat = values.ravel()
    place = flat.size // 4
    return float(np.partition(flat, place)[place])


def surviving_edges(background: Grid, cells: Grid, gain: float) -> float:
    """The part of the empty scene's edges that the frame still has, in the same direction; 1 where it has no edges."""
    old_x, old_y = _slopes(_plane(background))
    old = old_x**2 + old_y**2
    strong = old > _EDGE_LEVEL**2
    if strong.mean() < _MIN_EDGES:
        return 1.0
    new_x, new_y = _slopes(_plane(cells))
    along = old_x * new_x + old_y * new_y
    return float((along > 0.5 * gain * old)[strong].mean())


def _slopes(plane: Grid) -> tuple[Grid, Grid]:
    across = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)
    down = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3, scale=0.25)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _slope(cells: Grid) -> Grid:
    across, down = _slopes(cells)
    return np.sqrt(across * across + down * down)


def _plane(cells: Grid) -> Grid:
    """Mean of the three channels, [h, w]."""
    return np.asarray(cv2.transform(cells, _THIRDS), np.float32)


def _sharpness(plane: Grid) -> float:
    """Variance of the Laplacian over the squared mean level, times 1000: does not depend on how bright it is."""
    curvature = cv2.Laplacian(plane, cv2.CV_32F)
    return float(curvature.var() / max(float(plane.mean()), 1.0) ** 2 * 1000.0)
