"""Films of a staged bin: actors move through the picture, the light changes, the sensor adds its noise.

A film is a recording with a time of its own, so that the daemon plays it as fast as it can. What truly happens in it is
known: its visits. The same film is the same to the bit, whoever plays it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.item_layers import HEIGHT, WIDTH, Layer, Picture
from device.frame import Frame
from smartbin.images import BgrImage

_SHUTTER_S = 1 / 60  # how long a frame is exposed at most: what moves is smeared over so much of its way
_TREMOR = ((0.006, 0.5), (0.004, 1.3), (0.0012, 7.0))  # sway and tremor of a held thing: part of the width, Hz
_EXPOSURE_S = 0.17  # auto-exposure makes a step so often
_EXPOSURE_STEP = 0.12
_EXPOSURE_TARGET = 0.5
_EXPOSURE_BAND = 0.08


@dataclass(frozen=True, slots=True)
class Key:
    """Where an actor is at a moment: offset in parts of the picture, size, turn in degrees."""

    at_s: float
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    turn: float = 0.0


@dataclass(frozen=True, slots=True)
class Actor:
    """A layer on its way: it is there from its first key to its last, eased in between. `shake` 1: held in a hand."""

    layer: Layer
    keys: tuple[Key, ...]
    shake: float = 0.0
    seed: int = 0

    def pose(self, now_s: float) -> Key | None:
        """Where it is, None while it is not there."""
        if not self.keys[0].at_s <= now_s <= self.keys[-1].at_s:
            return None
        index = next(number for number, key in enumerate(self.keys[1:]) if now_s <= key.at_s)
        before, after = self.keys[index], self.keys[index + 1]
        part = (now_s - before.at_s) / max(after.at_s - before.at_s, 1e-6)
        part = part * part * (3 - 2 * part)

        def mix(one: float, other: float) -> float:
            return one + part * (other - one)

        sway_x, sway_y = self._sway(now_s, 0), self._sway(now_s, 1)
        return Key(
            now_s,
            mix(before.x, after.x) + sway_x,
            mix(before.y, after.y) + sway_y,
            mix(before.scale, after.scale),
            mix(before.turn, after.turn) + 100 * self._sway(now_s, 2),
        )

    def _sway(self, now_s: float, axis: int) -> float:
        phase = self.seed * 1.7 + axis * 2.1
        return self.shake * sum(
            part * math.sin(2 * math.pi * hertz * now_s * (1 + 0.13 * axis) + phase * (1 + hertz))
            for part, hertz in _TREMOR
        )


@dataclass(frozen=True, slots=True)
class Visit:
    """An item's visit: it begins to come in, is where it is held, begins to leave, and is gone; seconds."""

    label: str
    enters_s: float
    full_s: float
    leaves_s: float
    gone_s: float


Light = Callable[[float], tuple[float, float, float]]
"""Light in the three channels at a moment, 1 is good light."""


def steady_light(now_s: float) -> tuple[float, float, float]:
    """Good light that does not change."""
    return (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Film:
    """The empty bin, who moves in front of it, and the light. `noise`: levels of sensor noise in mid grey."""

    kind: str
    empty: Picture
    actors: tuple[Actor, ...]
    visits: tuple[Visit, ...]
    seconds: float
    light: Light = steady_light
    noise: float = 2.0
    auto_exposure: bool = False
    seed: int = 0
    fps: float = 30.0

    def frames(self) -> Iterator[Frame]:
        """Every frame in turn; `truth` is the class of the item that is there, also while it comes and goes."""
        rng = np.random.default_rng(self.seed)
        exposure, stepped_s = 1.0, 0.0
        for number in range(int(self.seconds * self.fps)):
            now_s = number / self.fps
            lamp = [exposure * part for part in self.light(now_s)]
            linear = np.asarray(cv2.transform(self._stage(now_s), np.diag(lamp).astype(np.float32)), np.float32)
            if self.auto_exposure and now_s - stepped_s >= _EXPOSURE_S:
                stepped_s, exposure = now_s, _adjust(exposure, float(np.minimum(linear, 1.0).mean()))
            picture = _expose(linear, self.noise, rng)
            present = [visit.label for visit in self.visits if visit.enters_s <= now_s <= visit.gone_s]
            yield Frame(picture, number + 1, now_s, self.kind, truth=present[-1] if present else None)

    def _stage(self, now_s: float) -> Picture:
        picture = self.empty
        for actor in self.actors:
            pose = actor.pose(now_s)
            if pose is not None:
                picture = _behind(actor, pose, picture, min(_SHUTTER_S, 1 / self.fps))
        return picture


class FilmCamera:
    """Plays a film like a recording."""

    live = False

    def __init__(self, film: Film) -> None:
        """The film is made frame by frame, as it is read."""
        self._frames = film.frames()

    def read(self) -> Frame | None:
        """The next frame, None at the end."""
        return next(self._frames, None)

    def close(self) -> None:
        """Nothing is held open."""


def _behind(actor: Actor, pose: Key, picture: Picture, shutter_s: float) -> Picture:
    """The picture as it is seen behind and around an actor, smeared along its way while the shutter is open."""
    matrix = np.asarray(cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), pose.turn, pose.scale), np.float64)
    matrix[:, 2] += (pose.x * WIDTH, pose.y * HEIGHT)
    smear = _smear(actor, pose, shutter_s)
    seen = cv2.multiply(picture, _moved(actor.layer.through, matrix, 1.0, smear))
    if actor.layer.added is not None:
        seen = cv2.add(seen, _moved(actor.layer.added, matrix, 0.0, smear))
    return np.asarray(seen, np.float32)


def _moved(layer: Picture, matrix: NDArray[np.float64], beyond: float, smear: tuple[int, int]) -> Picture:
    moved = cv2.warpAffine(layer, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderValue=(beyond,) * 3)
    if smear != (1, 1):
        moved = cv2.blur(moved, smear, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _smear(actor: Actor, pose: Key, shutter_s: float) -> tuple[int, int]:
    """Width and height in pixels of the way during one exposure: actors move along one axis, or slowly."""
    after = actor.pose(pose.at_s + shutter_s) or pose
    return max(1, round(abs(after.x - pose.x) * WIDTH)), max(1, round(abs(after.y - pose.y) * HEIGHT))


def _adjust(exposure: float, mean: float) -> float:
    """One step of auto-exposure towards its target, none near it."""
    if abs(mean - _EXPOSURE_TARGET) <= _EXPOSURE_BAND:
        return exposure
    return exposure * (1 + _EXPOSURE_STEP if mean < _EXPOSURE_TARGET else 1 - _EXPOSURE_STEP)


@functools.lru_cache(maxsize=1)
def _noise_plane() -> Picture:
    """Larger than a frame: each frame takes another part of it."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, (2 * HEIGHT, 2 * WIDTH, 3)).astype(np.float32)


def _expose(linear: Picture, noise: float, rng: np.random.Generator) -> BgrImage:
    """Levels of 0 to 255 with noise that grows with the root of the light."""
    row, column = (int(rng.integers(limit)) for limit in (HEIGHT, WIDTH))
    grain = cv2.sqrt(np.maximum(linear, 0.0))
    grain = cv2.addWeighted(grain, 0.85 * noise, grain, 0.0, 0.4 * noise)
    grain = cv2.multiply(grain, np.ascontiguousarray(_noise_plane()[row : row + HEIGHT, column : column + WIDTH]))
    return np.asarray(cv2.addWeighted(linear, 255.0, grain, 1.0, 0.0, dtype=cv2.CV_8U), np.uint8)
