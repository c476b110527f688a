"""Judges without items: every frame for itself (photos), or one answer that is published whenever it changes."""

from __future__ import annotations

from collections import deque

from device.decision import (
    Decision,
    DecisionKind,
    DecisionSettings,
    Judge,
    JudgeState,
    Mode,
    Observation,
    Sighting,
    Verdicts,
)
from device.item_judge import ItemJudge
from smartbin.prediction import Prediction, average


class FrameJudge:
    """A decision on every frame: each photo of a folder is an item of its own."""

    state: JudgeState = "WATCHING"

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._count = 0

    @property
    def item(self) -> int:
        """The number of the newest frame."""
        return self._count

    def wants_prediction(self, observation: Observation) -> bool:
        """Wherever there is light."""
        return observation.light == "ok"

    def update(self, now_s: float, observation: Observation) -> Decision:
        """The decision on this frame."""
        self._count += 1
        sighting = Sighting(self._count, now_s, now_s, observation.exposure, observation.truth)
        if observation.light != "ok":
            return self._verdicts.refuse(observation.light, sighting)
        if observation.prediction is None:
            return self._verdicts.refuse("uncertain", sighting)
        return self._verdicts.give(observation.prediction, 1, sighting)

    def finish(self, now_s: float) -> None:
        """Nothing is ever left open."""


class ContinuousJudge:
    """The mean of the last frames, whatever is there; a decision whenever kind or label changes, and only then."""

    state: JudgeState = "WATCHING"

    def __init__(self, settings: DecisionSettings, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._recent: deque[Prediction] = deque(maxlen=settings.window)
        self._said: tuple[DecisionKind, str | None] | None = None
        self._count = 0

    @property
    def item(self) -> int:
        """The number of answers so far."""
        return self._count

    def wants_prediction(self, observation: Observation) -> bool:
        """Wherever there is light."""
        return observation.light == "ok"

    def update(self, now_s: float, observation: Observation) -> Decision | None:
        """The new answer, when it differs from the last one."""
        sighting = Sighting(self._count + 1, now_s, now_s, observation.exposure, observation.truth)
        if observation.light != "ok":
            self._recent.clear()
            decision = self._verdicts.refuse(observation.light, sighting)
        elif observation.prediction is None:
            return None
        else:
            self._recent.append(observation.prediction)
            if len(self._recent) < (self._recent.maxlen or 1):
                return None
            mean = average(list(self._recent), self._verdicts.classes)
            decision = self._verdicts.give(mean, len(self._recent), sighting)
        answer = (decision.kind, decision.label if decision.kind == "accepted" else None)
        if answer == self._said:
            return None
        self._said, self._count = answer, self._count + 1
        return decision

    def finish(self, now_s: float) -> None:
        """Nothing is ever left open."""


def make_judge(mode: Mode, settings: DecisionSettings, verdicts: Verdicts) -> Judge:
    """The judge of a mode."""
    if mode == "every_frame":
        return FrameJudge(verdicts)
    return ContinuousJudge(settings, verdicts) if mode == "continuous" else ItemJudge(settings, verdicts)
