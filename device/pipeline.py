"""One frame through the bin: brightness, presence, classify, decide. No camera, no thread, no sink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from device.decision import Decision, Judge, Observation
from device.frame import Frame
from device.presence import PresenceReading
from device.presence_sensor import Presence, SensedPresence
from device.region import Region, crop_region
from device.sharpness import sharpness
from device.steady_light import SteadyGamma
from smartbin.brightness import light_state
from smartbin.classifier import Classifier
from smartbin.images import BgrImage
from smartbin.latency import StageTimer
from smartbin.prediction import predictions
from smartbin.preprocess import NetworkInput, PreprocessSpec, to_input

EVERYTHING_PRESENT = PresenceReading(present=True, still=True)


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one frame."""

    observation: Observation
    presence: PresenceReading
    decision: Decision | None


class Pipeline:
    """Holds what lasts from frame to frame. `presence` is None where every frame counts as an item (photos).

    `steady` is None where frames have nothing to do with each other. Of each frame only the `region` is looked at.
    """

    def __init__(
        self,
        classifier: Classifier,
        spec: PreprocessSpec,
        judge: Judge,
        presence: Presence | None,
        timer: StageTimer | None = None,
        *,
        steady: SteadyGamma | None = None,
        region: Region | None = None,
        went_stale: Callable[[Frame], bool] = lambda frame: False,
    ) -> None:
        """`went_stale`: whether a frame has grown too old while it was looked at; then the judge does not see it."""
        self._classifier, self._spec, self._presence = classifier, spec, presence
        self._steady, self._region = steady, region
        self.judge = judge
        self.timer = timer if timer is not None else StageTimer()
        self._went_stale = went_stale
        self._last_s = 0.0
        self._view: tuple[str, tuple[int, ...]] | None = None

    def step(self, frame: Frame) -> Step:
        """Take one frame through all stages; `InferenceError` if the network fails, `ImageError` for an unfit image."""
        with self.timer.stage("frame"):
            self._look_for_another_view(frame)
            image = crop_region(frame.image, self._region)
            with self.timer.stage("brightness"):
                prepared = self._prepare(frame.captured_s, image)
            reading = EVERYTHING_PRESENT
            if self._presence is not None:
                with self.timer.stage("presence"):
                    reading = self._presence.update(frame.captured_s, image)
            observation = self._observe(frame, image, prepared, reading)
            decision = None
            if not self._went_stale(frame):
                with self.timer.stage("decide"):
                    self._last_s = frame.captured_s
                    decision = self.judge.update(frame.captured_s, observation)
        return Step(observation, _in_whole_picture(reading, self._region), decision)

    def finish(self) -> Decision | None:
        """After the last frame of a recording: the decision on what is still in the bin, if there is one."""
        return self.judge.finish(self._last_s)

    @property
    def region(self) -> Region | None:
        """The part of the picture that is looked at; None is all of it."""
        return self._region

    def look_at(self, region: Region | None) -> None:
        """Look at another part of the picture from the next frame on, and learn it anew. From any thread."""
        self._region, self._view = region, None

    def close(self) -> None:
        """Let go of a presence sensor."""
        if isinstance(self._presence, SensedPresence):
            self._presence.close()

    def _look_for_another_view(self, frame: Frame) -> None:
        """Another source, or another size of its pictures: what was learned of the last one is forgotten."""
        view = (frame.source, frame.image.shape)
        if view == self._view:
            return
        self._view = view
        if self._presence is not None:
            self._presence.relearn()
        if self._steady is not None:
            self._steady.forget()

    def _prepare(self, now_s: float, image: BgrImage) -> NetworkInput:
        steady = self._steady
        if steady is None:
            return to_input(image, self._spec)
        return to_input(image, self._spec, lambda wanted: steady.follow(now_s, wanted))

    def _observe(self, frame: Frame, image: BgrImage, prepared: NetworkInput, reading: PresenceReading) -> Observation:
        """What is known of the frame; only if the judge could use that, it is classified and its sharpness measured."""
        light = light_state(prepared.exposure, self._spec.brightness)
        observation = Observation(reading.present, reading.still, light, prepared.exposure, truth=frame.truth)
        if not self.judge.wants_prediction(observation):
            return observation
        with self.timer.stage("classify"):
            output = self._classifier.classify(prepared.image[None])
            (prediction,) = predictions(output, self._classifier.classes)
        if self._presence is None:
            return replace(observation, prediction=prediction)
        measured = sharpness(image, reading.box, self._spec.size)
        return replace(observation, prediction=prediction, sharpness=measured)


def _in_whole_picture(reading: PresenceReading, region: Region | None) -> PresenceReading:
    """The reading with its box in parts of the whole picture, not of the region."""
    if region is None or reading.box is None:
        return reading
    (x, y, wide, high), (left, top, width, height) = region, reading.box
    return replace(reading, box=(x + left * wide, y + top * high, width * wide, height * high))
