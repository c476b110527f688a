"""The item state machine: EMPTY -> ARRIVING -> JUDGING -> DECIDED -> CLEARING -> EMPTY, one decision an item.

Pure over time: observations with their times go in, decisions come out. What it averages are probabilities of still,
sharp, well-lit frames; it stops early when the lead is decisive and at a time limit otherwise. Its answer does not
change until the item has left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from device.decision import Decision, DecisionSettings, JudgeState, Observation, Sighting, Verdicts
from smartbin.brightness import Exposure, LightState
from smartbin.prediction import Prediction, average, decide


@dataclass(slots=True)
class _Item:
    """What has been seen of the item that is being judged."""

    arrived_s: float
    predictions: list[tuple[float, Prediction]] = field(default_factory=list)
    bad_light: list[LightState] = field(default_factory=list)
    judging_since_s: float = 0.0
    still_s: float = 0.0
    """How much of its time it lay still."""
    exposure: Exposure | None = None
    truth: str | None = None


class ItemJudge:
    """The state machine. One `update` a frame."""

    def __init__(self, settings: DecisionSettings, verdicts: Verdicts) -> None:
        self._settings, self._verdicts = settings, verdicts
        self._state: JudgeState = "EMPTY"
        self._current: _Item | None = None
        self._absent_since_s: float | None = None
        self._last_s: float | None = None
        self._count = 0

    @property
    def state(self) -> JudgeState:
        """Where it stands."""
        return self._state

    @property
    def item(self) -> int:
        """The number of the newest item that was judged, 0 before the first."""
        return self._count

    def wants_prediction(self, observation: Observation) -> bool:
        """While an item is there undecided, in good light, and lies still or has been moving for too long."""
        if self._state not in ("ARRIVING", "JUDGING") or not observation.present or observation.light != "ok":
            return False
        return observation.still or self._state == "JUDGING"

    def update(self, now_s: float, observation: Observation) -> Decision | None:
        """Take in one frame at `now_s`, which never goes backwards; a decision, when it falls."""
        gone_s = self._absence(now_s, observation.present)
        since_s, self._last_s = 0.0 if self._last_s is None else now_s - self._last_s, now_s
        if self._current is not None and observation.present:
            self._current.still_s += since_s if observation.still else 0.0
            self._current.exposure = observation.exposure
            self._current.truth = observation.truth or self._current.truth
        if self._state == "EMPTY":
            self._empty(now_s, observation)
            return None
        if self._state == "ARRIVING":
            return self._arriving(now_s, observation, gone_s)
        if self._state == "JUDGING":
            return self._judging(now_s, observation, gone_s)
        self._decided(gone_s)
        return None

    def finish(self, now_s: float) -> Decision | None:
        """There are no more frames: the decision on what is there undecided, if anything was seen of it."""
        if self._state != "JUDGING":
            return None
        item = self._item()
        return self._answer(now_s, item, self._counted(item), gone=True)

    def _absence(self, now_s: float, present: bool) -> float | None:
        """For how long nothing has been there, seconds; None while something is."""
        if present:
            self._absent_since_s = None
            return None
        if self._absent_since_s is None:
            self._absent_since_s = now_s
        return now_s - self._absent_since_s

    def _empty(self, now_s: float, observation: Observation) -> None:
        if observation.present:
            self._state = "ARRIVING"
            self._current = _Item(now_s, exposure=observation.exposure, truth=observation.truth)

    def _arriving(self, now_s: float, observation: Observation, gone_s: float | None) -> Decision | None:
        """Wait until it is surely an item and lies still; a shadow that passes is forgotten without a decision."""
        item = self._item()
        if gone_s is not None:
            if gone_s >= self._settings.leave_s:
                self._reset()
            return None
        self._collect(now_s, item, observation)
        here_s = now_s - item.arrived_s
        settled = observation.still and here_s >= self._settings.arrive_s
        if not settled and here_s < self._settings.settle_limit_s:
            return None
        self._state, self._count = "JUDGING", self._count + 1
        item.judging_since_s = now_s
        return self._conclude(now_s, item, gone_s)

    def _judging(self, now_s: float, observation: Observation, gone_s: float | None) -> Decision | None:
        """Collect what counts; answer when the lead is decisive, enough is known, time is up, or the item has gone."""
        item = self._item()
        if observation.present:
            self._collect(now_s, item, observation)
        return self._conclude(now_s, item, gone_s)

    def _collect(self, now_s: float, item: _Item, observation: Observation) -> None:
        """Keep what a frame says of the item, if it lies still, or has not done so for too long."""
        impatient = now_s - item.arrived_s >= self._settings.settle_limit_s
        if observation.light != "ok":
            item.bad_light.append(observation.light)
        elif observation.prediction is not None and (observation.still or impatient):
            item.predictions.append((observation.sharpness, observation.prediction))

    def _conclude(self, now_s: float, item: _Item, gone_s: float | None) -> Decision | None:
        settings = self._settings
        counted = self._counted(item)
        time_is_up = now_s - item.judging_since_s >= settings.time_limit_s
        gone = gone_s is not None and gone_s >= settings.leave_s
        settled = item.still_s >= settings.min_still_s or now_s - item.arrived_s >= settings.settle_limit_s
        if gone and not settled:
            self._forget()
            return None
        enough = max(len(counted), len(item.bad_light)) >= settings.max_frames
        if time_is_up or gone or (settled and (enough or self._decisive(counted))):
            return self._answer(now_s, item, counted, gone)
        return None

    def _decided(self, gone_s: float | None) -> None:
        """Hold the answer until the item has surely left; one that comes back while clearing is the same item."""
        if gone_s is None:
            self._state = "DECIDED"
        elif gone_s >= self._settings.leave_s + self._settings.clear_s:
            self._reset()
        elif gone_s >= self._settings.leave_s:
            self._state = "CLEARING"

    def _counted(self, item: _Item) -> list[Prediction]:
        """The predictions of the frames that are about as sharp as the sharpest."""
        best = max((sharpness for sharpness, _ in item.predictions), default=0.0)
        return [
            prediction
            for sharpness, prediction in item.predictions
            if sharpness >= self._settings.sharpness_ratio * best
        ]

    def _decisive(self, counted: list[Prediction]) -> bool:
        if len(counted) < self._settings.min_frames:
            return False
        mean = average(counted, self._verdicts.classes)
        return mean.margin >= self._settings.decisive_margin and decide(mean, self._verdicts.thresholds) == "accepted"

    def _answer(self, now_s: float, item: _Item, counted: list[Prediction], gone: bool) -> Decision | None:
        """Say what is known: the mean, that the light is bad, or that nothing could be seen of an item that stayed."""
        self._state = "DECIDED"
        exposure = item.exposure if item.exposure is not None else Exposure(0.0, 0.0)
        sighting = Sighting(self._count, item.arrived_s, now_s, exposure, item.truth)
        if counted:
            return self._verdicts.give(average(counted, self._verdicts.classes), len(counted), sighting)
        if item.bad_light:
            dark = 2 * item.bad_light.count("too_dark") >= len(item.bad_light)
            return self._verdicts.refuse("too_dark" if dark else "too_bright", sighting)
        if gone:  # it came and went before anything could be seen of it
            self._forget()
            return None
        return self._verdicts.refuse("uncertain", sighting)

    def _forget(self) -> None:
        """It only passed, and is no item."""
        self._count -= 1
        self._reset()

    def _item(self) -> _Item:
        assert self._current is not None, f"no item in state {self._state}"
        return self._current

    def _reset(self) -> None:
        self._state, self._current, self._absent_since_s = "EMPTY", None, None
