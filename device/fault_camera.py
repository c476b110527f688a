"""The test camera: any source, shown as a live camera that fails on purpose. For tests, soaks and drills.

A `FaultDrill` holds what outlives an opening: the source behind it, the schedule, and the newest of the faults that it
injected. The cameras that it opens are handles on it, so a camera that the daemon opens again goes on where it was.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from device.camera import Camera
from device.clock import Clock
from device.drill_pictures import DrillPictures
from device.fault_plan import FaultKind, FaultPlan, FaultSchedule
from device.frame import BadFrameError, Frame
from smartbin.errors import CameraError

_log = logging.getLogger(__name__)

_CURED_BY_OPENING: frozenset[FaultKind] = frozenset({"freeze", "corrupt", "wrong_size", "wrong_channels"})
_SLOW_S = (0.05, 1.0)  # so late come the frames of a slow camera: some within the daemon's limit, some not
_KEPT = 200  # faults that are remembered
_GREY, _GREEN = (128, 128, 128), (0, 154, 0)  # what missing data of a JPEG and of a YUYV frame is decoded to


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault: `planned_s` is how long it was to last, `ended_s` None while it does. Times are monotonic seconds."""

    number: int
    kind: FaultKind
    begun_s: float
    frame: int
    planned_s: float
    ended_s: float | None = None


class FaultDrill:
    """Opens the cameras of one test source, and knows the faults that they showed.

    One thread opens and reads; `faults` may be read from any.
    """

    def __init__(
        self, plan: FaultPlan, open_inner: Callable[[], Camera], name: str, clock: Clock, stop: threading.Event
    ) -> None:
        self._plan, self._name, self._clock, self._stop = plan, name, clock, stop
        self._schedule = FaultSchedule(plan)
        self._random = random.Random(plan.seed + 1)
        self._pictures = DrillPictures(plan, open_inner, clock)
        self._faults: list[InjectedFault] = []
        self._begun = 0
        self._last: Frame | None = None
        self._seq, self._due_s = 0, clock.now_s()

    @property
    def faults(self) -> tuple[InjectedFault, ...]:
        """The newest faults, the one that is on at the moment included."""
        return tuple(self._faults)

    @property
    def current(self) -> InjectedFault | None:
        """The fault that is on."""
        return self._faults[-1] if self._faults and self._faults[-1].ended_s is None else None

    def open(self) -> FaultCamera:
        """A camera; `CameraError` as long as it is unplugged. What a new start cures in real cameras is cured."""
        fault = self.current
        if fault is not None and (self._is_over(fault) or fault.kind in _CURED_BY_OPENING):
            self._end(fault)
        elif fault is not None and fault.kind == "unplug":
            raise self._unplugged(fault)
        self._pictures.open()
        return FaultCamera(self)

    def read(self) -> Frame | None:
        """The next frame, or what the fault makes of it; None once `stop` is set or the source is over."""
        fault = self._fault_now()
        if fault is not None and fault.kind == "unplug":
            raise self._unplugged(fault)
        if fault is not None and fault.kind == "stall":
            if self._clock.wait(self._stop, fault.begun_s + fault.planned_s - self._clock.now_s()):
                return None
            self._end(fault)
            fault = None
        if not self._keep_pace():
            return None
        frozen = self._last if fault is not None and fault.kind == "freeze" else None
        frame = frozen if frozen is not None else self._pictures.read()
        if frame is None:
            return None
        self._seq += 1
        frame = replace(frame, seq=self._seq, captured_s=self._clock.now_s())
        self._last = frame
        return frame if fault is None else self._damaged(frame, fault)

    def release(self) -> None:
        """A camera was closed: where the daemon stops, so is the source."""
        if self._stop.is_set():
            self.close()

    def close(self) -> None:
        """Close the source behind it."""
        self._pictures.close()

    def _fault_now(self) -> InjectedFault | None:
        """The fault that is on, or that begins with this frame."""
        now_s = self._clock.now_s()
        fault = self.current
        if fault is not None:
            if not self._is_over(fault):
                return fault
            self._end(fault)
        due = self._schedule.next_fault(now_s, self._seq)
        if due is None:
            return None
        self._begun += 1
        fault = InjectedFault(self._begun, due[0], now_s, self._seq + 1, due[1])
        self._faults.append(fault)
        del self._faults[:-_KEPT]
        self._report("begins", fault)
        return fault

    def _is_over(self, fault: InjectedFault) -> bool:
        return self._clock.now_s() >= fault.begun_s + fault.planned_s

    def _end(self, fault: InjectedFault) -> None:
        self._faults[-1] = replace(fault, ended_s=self._clock.now_s())
        self._schedule.rest(self._clock.now_s(), self._seq)
        self._report("ends", self._faults[-1])

    def _report(self, what: str, fault: InjectedFault) -> None:
        """Into the log, and as a JSON line into the file of the plan. A file that cannot be written ends the drill."""
        _log.info("test camera: fault %d, %s, %s", fault.number, fault.kind, what)
        if self._plan.log is None:
            return
        record = {
            "time": self._clock.wall().isoformat(),
            "what": what,
            "number": fault.number,
            "kind": fault.kind,
            "frame": fault.frame,
            "begun_s": round(fault.begun_s, 4),
            "planned_s": round(fault.planned_s, 4),
            "ended_s": None if fault.ended_s is None else round(fault.ended_s, 4),
        }
        with self._plan.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _unplugged(self, fault: InjectedFault) -> CameraError:
        return CameraError("the camera is unplugged", where=self._name, found=f"injected fault {fault.number}")

    def _keep_pace(self) -> bool:
        """Wait for the time of the next frame; what a fault held up is not made up for. False once `stop` is set."""
        period_s, now_s = self._pictures.period_s, self._clock.now_s()
        if period_s == 0:
            return not self._stop.is_set()
        self._due_s = max(self._due_s + period_s, now_s)
        return not self._clock.wait(self._stop, self._due_s - now_s)

    def _damaged(self, frame: Frame, fault: InjectedFault) -> Frame:
        """The frame as the fault leaves it."""
        image = frame.image
        if fault.kind == "slow":
            self._clock.wait(self._stop, self._random.uniform(*_SLOW_S))
        elif fault.kind == "black":
            image = np.zeros_like(image)
        elif fault.kind == "corrupt":
            return self._corrupted(frame)
        elif fault.kind == "wrong_size":
            image = image[: max(1, image.shape[0] // 2)]
        elif fault.kind == "wrong_channels":
            image = image[..., :2] if self._random.random() < 0.5 else image[..., 0]
        return replace(frame, image=image)

    def _corrupted(self, frame: Frame) -> Frame:
        """As of a bad cable: half of the frames come through, the others cannot be decoded, or only in part."""
        chance = self._random.random()
        if chance < 0.5:
            return frame
        if chance < 0.75:
            raise BadFrameError("the frame cannot be decoded", "empty", where=self._name)
        image = frame.image.copy()
        image[round(image.shape[0] * self._random.uniform(0.2, 0.8)) :] = self._random.choice((_GREY, _GREEN))
        return replace(frame, image=image)


class FaultCamera:
    """One opening of a drill's camera. Live: frames carry the time at which they were taken, and may be dropped."""

    live = True

    def __init__(self, drill: FaultDrill) -> None:
        self._drill, self._closed = drill, False

    def read(self) -> Frame | None:
        """The drill's next frame."""
        if self._closed:
            raise CameraError("the camera is closed", where="test camera")
        return self._drill.read()

    def close(self) -> None:
        """The drill goes on with the next opening, unless all is over."""
        self._closed = True
        self._drill.release()
