"""Something that gives answers, in a process of its own (`SideProcess`): opened, asked what it says, timed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.own_process import resident_mb

Item = TypeVar("Item")
Given = TypeVar("Given")


@dataclass(frozen=True, slots=True)
class Model(Generic[Given]):
    """What runs, as its row calls it, and its function: from what it is given to scores [N, C]."""

    runtime: str
    scores: Callable[[Given], NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class StartUp:
    """From nothing to the first answer, the imports of the runtime included.

    `memory_mb` is what that added to the resident memory of a process with numpy, OpenCV and the photos.
    """

    runtime: str
    seconds: float
    memory_mb: float


class Contender(Generic[Item, Given]):
    """A model and the photos that it is asked about. OpenCV gets as many threads as the model."""

    def __init__(
        self,
        open_model: Callable[[], Model[Given]],
        items: Sequence[Item],
        give: Callable[[Sequence[Item]], Given],
        threads: int,
    ) -> None:
        """`give` makes of N items what the model takes; that is not timed."""
        cv2.setNumThreads(threads)
        self._items, self._give = items, give
        first, before_mb, begun_s = give(items[:1]), resident_mb(), time.perf_counter()
        self._model = open_model()
        self._model.scores(first)
        self._start_up = StartUp(
            self._model.runtime, time.perf_counter() - begun_s, max(0.0, resident_mb() - before_mb)
        )
        self._starts = itertools.count()

    def start_up(self) -> StartUp:
        """How it came up."""
        return self._start_up

    def answers(self) -> list[int]:
        """The number of the best class of every item, asked one by one."""
        return [
            int(self._model.scores(self._give(self._items[number : number + 1])).argmax())
            for number in range(len(self._items))
        ]

    def lap(self, batch: int) -> float:
        """Milliseconds of one batch. It walks over the items, so that none is served from a cache."""
        start = next(self._starts) * batch
        given = self._give([self._items[(start + number) % len(self._items)] for number in range(batch)])
        begun_s = time.perf_counter()
        self._model.scores(given)
        return (time.perf_counter() - begun_s) * 1000
