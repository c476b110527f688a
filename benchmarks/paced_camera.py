"""A live camera that shows pictures held in memory, at a steady rate: what the daemon sees of a real one, without one.

The pictures are decoded before: what a camera's own driver costs is not in any figure.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from device.clock import Clock
from device.frame import Frame
from device.scene import SceneCamera
from smartbin.images import BgrImage, read_image

WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True, slots=True)
class Recording:
    """Pictures uint8 [720, 1280, 3] BGR, and the order in which they are shown, again and again.

    `order` holds indices into `pictures`; each of its entries lasts `1 / per_second`, whatever the camera's rate.
    """

    name: str
    pictures: tuple[BgrImage, ...]
    order: tuple[int, ...]
    per_second: float

    def at(self, elapsed_s: float) -> BgrImage:
        """What is to be seen so long after the start."""
        return self.pictures[self.order[int(elapsed_s * self.per_second) % len(self.order)]]


class PacedCamera:
    """Frame n is taken at n / fps; one that nobody waited for in time is lost, as in a camera, and counted."""

    live = True

    def __init__(self, recording: Recording, fps: float, clock: Clock, stop: threading.Event) -> None:
        self._recording, self._period_s, self._clock, self._stop = recording, 1 / fps, clock, stop
        self._begun_s = clock.now_s()
        self._taken = self.lost = 0

    def read(self) -> Frame:
        """The next frame, at its time; `captured_s` is when it was due."""
        late = int((self._clock.now_s() - self._begun_s) / self._period_s) - self._taken - 1
        if late > 0:
            self.lost += late
            self._taken += late
        elapsed_s = self._taken * self._period_s
        due_s = self._begun_s + elapsed_s
        self._clock.wait(self._stop, due_s - self._clock.now_s())
        self._taken += 1
        return Frame(self._recording.at(elapsed_s), self._taken, due_s, self._recording.name)

    def close(self) -> None:
        """Nothing is held open."""


def photo_recording(paths: Sequence[Path]) -> Recording:
    """Photos, each for a thirtieth of a second."""
    pictures = tuple(fill_frame(read_image(path)) for path in paths)
    return Recording("photos", pictures, tuple(range(len(pictures))), 30.0)


def scene_recording(every_s: float | None = None) -> Recording:
    """The first view of the built-in scene: items come, stay and leave. With `every_s`, one item in so many seconds."""
    camera = SceneCamera()
    frames = list(itertools.takewhile(lambda frame: frame.source == "scene, view a", iter(camera.read, None)))
    origins = list(dict.fromkeys(frame.origin for frame in frames))
    pictures = {frame.origin: fill_frame(frame.image) for frame in frames}
    order = [origins.index(frame.origin) for frame in frames]
    if every_s is not None:
        order = _spread([frame.truth is not None for frame in frames], order, round(every_s * camera.fps))
    return Recording("scene", tuple(pictures[origin] for origin in origins), tuple(order), camera.fps)


def _spread(with_item: Sequence[bool], order: Sequence[int], length: int) -> list[int]:
    """Every visit of an item behind so much of the empty bin that it fills `length` entries."""
    found: list[int] = []
    empty = order[0]
    for present, visit in itertools.groupby(zip(with_item, order, strict=True), key=lambda pair: pair[0]):
        if present:
            shown = [index for _, index in visit]
            found += [empty] * max(0, length - len(shown)) + shown
    return found


def fill_frame(image: BgrImage) -> BgrImage:
    """An image [H, W, 3] enlarged until it fills a frame, its middle: uint8 [720, 1280, 3]."""
    height, width = image.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    size = (max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale)))
    resized = cv2.resize(image, size)
    top, left = (resized.shape[0] - HEIGHT) // 2, (resized.shape[1] - WIDTH) // 2
    return np.ascontiguousarray(resized[top : top + HEIGHT, left : left + WIDTH], np.uint8)
