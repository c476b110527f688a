"""Opens the flap of a decision, closes it again, and shows where the bin is unsure.

Everything goes to rest at the start, at the end, on an error and at the exit of the interpreter. Where the process is
killed, servos keep their last position, and solenoids are as their driver leaves them (a pull-down at its input helps)
until `smartbin flap rest`, which the systemd unit calls after every end.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial

from device.clock import Clock
from device.decision import Decision
from device.events import Event, Session
from device.sinks.actuator_settings import FlapSettings, GpioSettings
from device.sinks.boards import Board, Buzzer, ServoBoard, Switch, Travel, need_libraries, open_board
from device.sinks.flaps import Flap, ServoFlap, SolenoidFlap
from device.sinks.queued_sink import QueuedSink, QueueRules

_log = logging.getLogger(__name__)
_CAP_S = 2.0  # a flap that could not be closed is tried again at least so often


class GpioReceiver:
    """Flaps, lights and a buzzer; what is to come is in `_due`, by what it is for, so that news replace it."""

    def __init__(
        self,
        settings: GpioSettings,
        clock: Clock,
        opener: Callable[[GpioSettings], Board] = open_board,
        servo_opener: Callable[[int], ServoBoard] = ServoBoard,
    ) -> None:
        self._settings, self._clock, self._opener, self._servo_opener = settings, clock, opener, servo_opener
        self._board: Board | None = None
        self._servo_board: ServoBoard | None = None
        self._flaps: dict[str, Flap] = {}
        self._lights: dict[str, Switch] = {}
        self._cue_light: Switch | None = None
        self._buzzer: Buzzer | None = None
        self._due: dict[tuple[str, str], tuple[float, Callable[[], None]]] = {}
        self._unknown: set[str] = set()
        self._never = threading.Event()

    def wants(self, event: Event) -> bool:
        """Decisions."""
        return event.decision is not None

    def start(self, session: Session) -> None:
        """Take the pins, and bring everything to rest."""
        atexit.register(self._rest_all)
        settings = self._settings
        board = self._board = self._opener(settings)
        for name, flap in settings.bins.items():
            self._flaps[name] = self._open_flap(board, flap)
            if flap.led is not None:
                self._lights[name] = board.switch(flap.led)
        if settings.unsure.led is not None:
            self._cue_light = board.switch(settings.unsure.led)
        if settings.unsure.buzzer is not None:
            self._buzzer = board.buzzer(settings.unsure.buzzer)
        for name in self._flaps:
            self._rest(name)

    def tick(self) -> float | None:
        """Do what is due; one thing that fails does not keep the others from being done, and is tried again."""
        now_s = self._clock.now_s()
        failure: Exception | None = None
        for key, (due_s, action) in sorted(self._due.items(), key=lambda item: item[1][0]):
            if due_s > now_s or self._due.get(key) != (due_s, action):
                continue
            try:
                action()
            except Exception as error:  # noqa: BLE001 - libraries and drivers raise anything
                failure = error
            else:
                if self._due.get(key) == (due_s, action):
                    del self._due[key]
        if failure is not None:
            raise failure
        return max(0.0, min(due_s for due_s, _ in self._due.values()) - self._clock.now_s()) if self._due else None

    def deliver(self, event: Event) -> None:
        """Open one flap, and close the others first."""
        decision = event.decision
        assert decision is not None
        for name in self._flaps:
            if name != decision.bin and ("rest", name) in self._due:
                self._rest(name)
        if decision.kind != "accepted":
            self._show_unsure()
        if decision.bin in self._flaps:
            self._open(decision)
        elif decision.bin not in self._unknown:
            self._unknown.add(decision.bin)
            _log.warning("no flap is configured for the bin %s ([sinks.gpio.bins])", decision.bin)

    def close(self) -> None:
        """Everything to rest, with the time to get there, then let go of the pins."""
        atexit.unregister(self._rest_all)
        self._due.clear()
        self._rest_all()
        if self._flaps:
            self._clock.wait(self._never, self._settings.settle_s)
        for flap in self._flaps.values():
            _try(flap.release, "release a flap")
        lights = [*self._lights.values(), *([self._cue_light] if self._cue_light is not None else [])]
        buzzers = [self._buzzer] if self._buzzer is not None else []
        boards = [board for board in (self._servo_board, self._board) if board is not None]
        for part in (*self._flaps.values(), *lights, *buzzers, *boards):
            _try(part.close, "let go of a pin")
        self._flaps, self._lights, self._cue_light, self._buzzer = {}, {}, None, None
        self._servo_board = self._board = None

    def _open_flap(self, board: Board, flap: FlapSettings) -> Flap:
        if flap.solenoid is not None:
            return SolenoidFlap(board.switch(flap.solenoid), flap.max_on_s)
        travel = Travel(flap.min_pulse_us, flap.max_pulse_us)
        if flap.servo is not None:
            return ServoFlap(board.servo(flap.servo, travel), flap.open_angle, flap.rest_angle)
        assert flap.channel is not None
        if self._servo_board is None:
            self._servo_board = self._servo_opener(self._settings.pca9685_address)
        return ServoFlap(self._servo_board.servo(flap.channel, travel), flap.open_angle, flap.rest_angle)

    def _open(self, decision: Decision) -> None:
        name = decision.bin
        self._due.pop(("release", name), None)
        self._after(self._settings.bins[name].hold_s, "rest", name, partial(self._rest, name))  # first: it must come
        self._flaps[name].open()
        if name in self._lights:
            self._lights[name].on()

    def _rest(self, name: str) -> None:
        self._flaps[name].rest()
        if name in self._lights:
            self._lights[name].off()
        self._due.pop(("rest", name), None)
        self._after(self._settings.settle_s, "release", name, self._flaps[name].release)

    def _show_unsure(self) -> None:
        cue = self._settings.unsure
        for key in [key for key in self._due if key[0] in ("blink", "tone")]:
            del self._due[key]
        if (light := self._cue_light) is not None:
            for step in range(2 * cue.blinks):
                self._after(step * cue.blink_s, "blink", f"{step:04}", light.off if step % 2 else light.on)
        if (buzzer := self._buzzer) is not None:
            for step, tone in enumerate(cue.tones):
                self._after(step * cue.tone_s, "tone", f"{step:04}", partial(buzzer.play, tone))
            self._after(len(cue.tones) * cue.tone_s, "tone", "off", buzzer.off)

    def _after(self, seconds: float, what: str, which: str, action: Callable[[], None]) -> None:
        self._due[what, which] = (self._clock.now_s() + seconds, action)

    def _rest_all(self) -> None:
        for flap in self._flaps.values():
            _try(flap.rest, "close a flap")
        switches: Iterable[Switch | Buzzer | None] = (*self._lights.values(), self._cue_light, self._buzzer)
        for switch in switches:
            if switch is not None:
                _try(switch.off, "switch off")


def _try(action: Callable[[], None], what: str) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - the others are to rest as well
        with contextlib.suppress(Exception):
            _log.error("cannot %s: %s", what, error)


def open_gpio(settings: GpioSettings, clock: Clock) -> QueuedSink:
    """The sink of `[sinks.gpio]`; `ConfigError` if a library is missing. Pins are taken by its thread."""
    need_libraries(settings)
    rules = QueueRules(
        limit=8, max_age_s=settings.max_age_s, attempts=1, cap_s=_CAP_S, flush_s=0.0, block_s=settings.settle_s + 1.0
    )
    return QueuedSink("gpio", GpioReceiver(settings, clock), rules, clock)
