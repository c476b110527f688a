"""A hall with a bin, for drills of days: its clock, its light, the items that come, and the camera that sees them."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from device.events import Event, FrameView, Session
from device.frame import Frame
from smartbin.errors import CameraError
from tests.device.staging import COLOURS, Bin

HOUR_S = 3600.0
IDLE_S, _VISIT_FPS = 60.0, 10.0
_BEFORE_S, _STAY_S, _AFTER_S = 0.5, 1.5, 1.0
_APART_S = 120.0
_NIGHT_H, _DARK_H, _DUSK_H = 3.5, 2.0, 0.5  # the middle of the night, and how long to either side it is dark, and dim
_DARK = 0.01
WAIT_S = 30.0
"""For another thread; only a failure takes so long."""
_NOISES = 16


class DayClock:
    """Moved by the thread that called `drive`; everybody else really waits. The wall clock can be set wrong."""

    def __init__(self, start: datetime) -> None:
        self._start, self._now_s = start, 0.0
        self._driver: threading.Thread | None = None
        self._round = threading.Event()
        self.wrong_s = 0.0

    def now_s(self) -> float:
        return self._now_s

    def wall(self) -> datetime:
        return self.true_wall() + timedelta(seconds=self.wrong_s)

    def true_wall(self) -> datetime:
        return self._start + timedelta(seconds=self._now_s)

    def drive(self) -> None:
        self._driver = threading.current_thread()

    def move_to(self, now_s: float) -> None:
        self._now_s = max(self._now_s, now_s)

    def came_round(self) -> None:
        """The main loop did."""
        self._round.set()

    def wait(self, stop: threading.Event, timeout_s: float) -> bool:
        if threading.current_thread() is not self._driver:
            return stop.wait(timeout_s)
        self._now_s += timeout_s
        self._round.clear()
        assert self._round.wait(WAIT_S), "the main loop does not come round"
        return stop.is_set()


@dataclass(frozen=True)
class Visit:
    """An item that comes at a time, seconds since the start, stays a little, and goes."""

    at_s: float
    colour: str

    def there(self, now_s: float) -> bool:
        return self.at_s <= now_s < self.at_s + _STAY_S


def light_at(hour: float) -> float:
    """Full by day, nearly none from half past one to half past five, and half an hour in between."""
    away_h = min(abs(hour - _NIGHT_H), 24 - abs(hour - _NIGHT_H))
    return math.exp(math.log(_DARK) * (1 - min(1.0, max(0.0, (away_h - _DARK_H) / _DUSK_H))))


def hour_of(moment: datetime) -> float:
    """Of this machine's time zone."""
    local = moment.astimezone()
    return local.hour + local.minute / 60


def draw_visits(start: datetime, hours: float, number: int, seed: int) -> list[Visit]:
    """Items at random, some minutes apart, about `number` of them: none comes while the light changes."""
    chance, found, space_s = random.Random(seed), list[Visit](), hours * HOUR_S / number
    for place in range(number):
        at_s = place * space_s + _APART_S + chance.random() * max(0.0, space_s - 2 * _APART_S)
        moments = (start + timedelta(seconds=at_s + more_s) for more_s in (-_APART_S, _APART_S))
        if len({light_at(hour_of(moment)) for moment in moments}) == 1:
            found.append(Visit(at_s, chance.choice(sorted(COLOURS))))
    return found


class Hall:
    """What there is to be seen: the bin, the items that come, and the light at that hour."""

    def __init__(self, visits: list[Visit]) -> None:
        self._visits = visits
        tray = Bin()
        self._pictures = {None: tray.empty()} | {colour: tray.holding(colour) for colour in COLOURS}
        chance = np.random.default_rng(0)
        self._noises = [chance.normal(0, 2, tray.empty().shape).astype(np.float32) for _ in range(_NOISES)]

    def moments(self, until_s: float) -> Iterator[tuple[float, Visit | None]]:
        """When a frame is taken, and of which visit: ten times a second around an item, else now and then."""
        now_s = 0.0
        for visit in self._visits:
            while now_s + IDLE_S < visit.at_s - _BEFORE_S:
                now_s += IDLE_S
                yield now_s, None
            for number in range(round((_BEFORE_S + _STAY_S + _AFTER_S) * _VISIT_FPS)):
                now_s = visit.at_s - _BEFORE_S + number / _VISIT_FPS
                yield now_s, visit
        while (now_s := now_s + IDLE_S) < until_s:
            yield now_s, None

    def picture(self, visit: Visit | None, now_s: float, hour: float, number: int) -> np.ndarray:
        colour = visit.colour if visit is not None and visit.there(now_s) else None
        noisy = self._pictures[colour] * np.float32(light_at(hour)) + self._noises[number * 7 % _NOISES]
        return np.clip(noisy, 0, 255).astype(np.uint8)


class HallCamera:
    """A live camera in the hall, one object for all its openings. It moves the clock from frame to frame.

    It is a sink, too, by which it knows that the main loop has done with a frame, and which light the bin saw.
    `happenings` are called at their second, in their order.
    """

    live = True

    def __init__(self, hall: Hall, clock: DayClock, until_s: float) -> None:
        self._hall, self._clock = hall, clock
        self._moments = hall.moments(until_s)
        self._done = threading.Event()
        self.happenings: list[tuple[float, Callable[[], None]]] = []
        self.unplugged_until_s, self.frames = 0.0, 0
        self.lights: Counter[str] = Counter()
        self.state = ""

    def open(self) -> HallCamera:
        self._clock.drive()
        self._done.set()
        self._check_cable()
        return self

    def read(self) -> Frame | None:
        assert self._done.wait(WAIT_S), "the main loop did not take a frame"
        self._done.clear()
        now_s = self._clock.now_s()
        at_s, visit = next((found for found in self._moments if found[0] >= now_s), (None, None))
        if at_s is None:
            return None
        self._clock.move_to(at_s)
        while self.happenings and self.happenings[0][0] <= at_s:
            self.happenings.pop(0)[1]()
        self._check_cable()
        self.frames += 1
        image = self._hall.picture(visit, at_s, hour_of(self._clock.true_wall()), self.frames)
        return Frame(image, self.frames, at_s, "hall")

    def _check_cable(self) -> None:
        if self._clock.now_s() < self.unplugged_until_s:
            raise CameraError("unplugged", where="hall")

    def start(self, session: Session) -> None:
        """As a sink: nothing to do."""

    def event(self, event: Event) -> None:
        """As a sink: nothing to do."""

    def frame(self, view: FrameView) -> None:
        self.lights[view.light] += 1
        self.state = view.state
        self._done.set()

    def close(self) -> None:
        """As a camera and as a sink: nothing is held."""
