"""One frame through the bin: brightness, presence, classify, decide. No camera, no thread, no sink."""

from __future__ import annotations

from dataclasses import dataclass

from device.decision import Decision, Judge, Observation
from device.frame import Frame
from device.presence import PresenceDetector, PresenceReading
from smartbin.brightness import light_state
from smartbin.classifier import Classifier
from smartbin.latency import StageTimer
from smartbin.prediction import Prediction, predictions
from smartbin.preprocess import NetworkInput, PreprocessSpec, to_input

EVERYTHING_PRESENT = PresenceReading(present=True, still=True)


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one frame."""

    observation: Observation
    presence: PresenceReading
    decision: Decision | None


class Pipeline:
    """Holds what lasts from frame to frame. `presence` is None where every frame counts as an item (photos)."""

    def __init__(
        self,
        classifier: Classifier,
        spec: PreprocessSpec,
        judge: Judge,
        presence: PresenceDetector | None,
        timer: StageTimer | None = None,
    ) -> None:
        self._classifier, self._spec, self._presence = classifier, spec, presence
        self.judge = judge
        self.timer = timer if timer is not None else StageTimer()
        self._last_s, self._source = 0.0, ""

    def step(self, frame: Frame) -> Step:
        """Take one frame through all stages; `InferenceError` if the network fails, `ImageError` for an unfit image."""
        with self.timer.stage("frame"):
            with self.timer.stage("brightness"):
                prepared = to_input(frame.image, self._spec)
            reading = EVERYTHING_PRESENT
            if self._presence is not None:
                with self.timer.stage("presence"):
                    if frame.source != self._source:  # another view
                        self._presence.relearn()
                        self._source = frame.source
                    reading = self._presence.update(frame.captured_s, frame.image)
            observation = self._observe(frame, prepared, reading)
            with self.timer.stage("decide"):
                self._last_s = frame.captured_s
                decision = self.judge.update(frame.captured_s, observation)
        return Step(observation, reading, decision)

    def finish(self) -> Decision | None:
        """After the last frame of a recording: the decision on what is still in the bin, if there is one."""
        return self.judge.finish(self._last_s)

    def _observe(self, frame: Frame, prepared: NetworkInput, reading: PresenceReading) -> Observation:
        """What is known of the frame; it is classified only if the judge could use that."""
        light = light_state(prepared.exposure, self._spec.brightness)

        def seen(prediction: Prediction | None) -> Observation:
            return Observation(
                reading.present, reading.still, light, prepared.exposure, prediction, reading.sharpness, frame.truth
            )

        observation = seen(None)
        if not self.judge.wants_prediction(observation):
            return observation
        with self.timer.stage("classify"):
            output = self._classifier.classify(prepared.image[None])
            (prediction,) = predictions(output, self._classifier.classes)
        return seen(prediction)
