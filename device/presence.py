"""Is something in the bin? Every frame is compared with the empty scene that was learned.

The comparison survives a change of light: each colour channel of the learned scene is first fitted to the frame (gain
and offset, robustly, so that an item does not spoil the fit). What then still differs must also have edges that the
scene has not: a shadow has a wide rim, and leaves the edges of what it falls on in proportion. The caller is the
pipeline; images come in, a `PresenceReading` goes out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from device.region import Region
from device.scene_comparison import (
    Box,
    Grid,
    box_of,
    lower_quarter,
    match_light,
    median,
    new_edges,
    plane_of,
    surviving_edges,
)
from smartbin.images import BgrImage

_BLIND_LEVEL = 1.5  # mean level (of 255) below which a frame holds nothing to compare
_MAX_NOISE = 6.0  # levels; more than that between two frames is movement, not noise
_QUARTER_TO_SIGMA = 3.138  # of normally distributed noise a quarter is below sigma / 3.138
_GOOD_LEVEL = 128.0  # mean level of a picture in good light; thresholds shrink with a darker one
_DIMMEST = 0.02
_EDGE_NOISE = 6.0  # times the noise; the slope of noise alone is about as large
_EARLIER_SCENES = 3
_MOTION_S = 0.025  # movement is what changed over so long: from one frame to the next a fast camera sees none
_MOST_RECENT = 16
_QUICK = 4  # samples along the side of a cell; each is the mean of four pixels


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
    motion_level: float = Field(
        default=8.0, gt=0, description="a cell moves when it differs more from an earlier frame"
    )
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
        self._recent: deque[tuple[float, Grid]] = deque(maxlen=_MOST_RECENT)  # newest last; the first is compared with
        self._present = False
        self._still_since_s: float | None = None
        self._jumped = False
        self._was_still = True
        self._noise = 0.5

    def update(self, now_s: float, image: BgrImage) -> PresenceReading:
        """Compare one frame, uint8 [H, W, 3] BGR, taken at `now_s`. About a millisecond at 640 x 480."""
        cells = self._cells(image)
        plane = plane_of(cells)
        if self._recent and plane.shape != self._recent[-1][1].shape:
            self._recent.clear()
            self.relearn()
        since_s = max(0.0, now_s - self._recent[-1][0]) if self._recent else 0.0
        motion = self._motion(plane, self._plane_before(now_s) if self._background is not None else None)
        self._recent.append((now_s, plane))
        still = motion <= self._settings.still_area
        if float(cells.mean()) < _BLIND_LEVEL and self._background is not None:
            return PresenceReading(self._present, still, gain=0.0)
        if self._background is None or self._learned < self._settings.learn_frames:
            return self._learn(cells, still, motion)
        return self._compare(self._background, cells, now_s, since_s, still, motion)

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

    def _plane_before(self, now_s: float) -> Grid | None:
        """The newest plane that is old enough to see movement by, else the oldest there is."""
        while len(self._recent) > 1 and now_s - self._recent[1][0] >= _MOTION_S:
            self._recent.popleft()
        return self._recent[0][1] if self._recent else None

    def _motion(self, plane: Grid, before: Grid | None) -> float:
        """The part of the cells that changed since an earlier frame, a change of the whole light taken out."""
        if before is None:
            return 0.0
        brighter = median(np.asarray(plane / np.maximum(before, 1.0), np.float32))
        spread = np.abs(plane - brighter * before)
        level = max(float(plane.mean()) / _GOOD_LEVEL, _DIMMEST)  # movement in the dark is small in levels
        noise = min(lower_quarter(spread) * _QUARTER_TO_SIGMA, _MAX_NOISE)  # up to three quarters may have moved
        self._noise += 0.2 * (noise - self._noise)
        threshold = max(self._settings.motion_level * min(level, 1.0), 6.0 * self._noise, 1.0)
        return float((spread > threshold).mean())

    def _learn(self, cells: Grid, still: bool, motion: float) -> PresenceReading:
        self._learned += 1
        if self._background is None:
            self._background = cells.copy()
        else:
            self._background += (cells - self._background) / self._learned
        return PresenceReading(False, still, motion=motion, learning=True)

    def _compare(
        self, background: Grid, cells: Grid, now_s: float, since_s: float, still: bool, motion: float
    ) -> PresenceReading:
        settings = self._settings
        expected, gain = match_light(background, cells)
        changed, edges = self._differences(expected, cells)
        area = float(changed.mean())
        if self._view_changed(background, cells, area, gain, still, motion):
            self.relearn()
            return self._learn(cells, still, motion)
        needed = settings.leave_area if self._present else settings.enter_area
        needed_edges = settings.enter_edges * (0.5 if self._present else 1.0)
        self._present = area >= needed and edges >= needed_edges and not self._jumped
        if self._present and self._is_earlier_scene(cells):
            return PresenceReading(False, still, motion=motion, gain=gain)
        self._follow(background, cells, expected, gain, now_s, since_s, still)
        box = box_of(changed) if self._present else None
        return PresenceReading(self._present, still, area, edges, motion, gain, box=box)

    def _differences(self, expected: Grid, cells: Grid) -> tuple[NDArray[np.bool_], float]:
        """Which cells are not as expected, bool [h, w], and the part of the cells that have a new edge.

        Edges are only looked for where enough has changed to be an item.
        """
        light = min(float(expected.mean()) / _GOOD_LEVEL, 1.0)
        level = max(self._settings.level * light, 6.0 * self._noise, 1.0)
        changed = np.abs(cells - expected).max(axis=2) > level
        if changed.mean() < self._settings.leave_area:
            return changed, 0.0
        edge_level = max(self._settings.edge_level * light, _EDGE_NOISE * self._noise, 1.0)
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
        if self._jumped:  # the next frame is still if it is as this one is
            while len(self._recent) > 1:
                self._recent.popleft()
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
