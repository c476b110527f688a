"""Sharpness at the network's scale: on items of the built-in scene, whose backgrounds rest and stay sharp."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.decision import DecisionSettings, make_verdicts
from device.frame_judges import make_judge
from device.pipeline import Pipeline
from device.presence import PresenceDetector
from device.scene import SceneCamera
from device.sharpness import sharpness
from smartbin.classifier import FunctionClassifier
from smartbin.prediction import RejectThresholds
from smartbin.preprocess import PreprocessSpec
from tests.device.staging import lit

CLASSES = ("a", "b", "c")
RATIO = DecisionSettings().sharpness_ratio
SIZE = 240


@pytest.fixture(scope="module")
def resting():
    """A picture of each item while it lies still, and its box."""
    camera, detector, found = SceneCamera(None, 0.0), PresenceDetector(), {}
    while (frame := camera.read()) is not None:
        reading = detector.update(frame.captured_s, frame.image)
        if frame.truth and reading.still and reading.box is not None and frame.truth not in found:
            found[frame.truth] = (frame.image, reading.box)
    assert len(found) == 6
    return list(found.values())


def moved(image, box, pixels):
    """The item smeared sideways, everything around it as it was."""
    height, width = image.shape[:2]
    left, top, right, bottom = box[0] * width, box[1] * height, (box[0] + box[2]) * width, (box[1] + box[3]) * height
    part = slice(int(top), int(bottom)), slice(int(left), int(right))
    out = image.copy()
    out[part] = cv2.filter2D(image[part], -1, np.full((1, pixels), 1 / pixels, np.float32))
    return out


@pytest.mark.parametrize("noise", [0.0, 6.0])
def test_a_smeared_item_is_less_sharp_although_its_background_is_not(resting, noise):
    for image, box in resting:
        sharp = sharpness(lit(image, 1.0, noise=noise, seed=1), box, SIZE)
        shares = [
            sharpness(lit(moved(image, box, pixels), 1.0, noise=noise, seed=pixels), box, SIZE) / sharp
            for pixels in (3, 7, 15, 31)
        ]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 0.7
        assert shares[3] < RATIO


def test_out_of_focus_is_less_sharp(resting):
    for image, box in resting:
        blurred = cv2.GaussianBlur(image, (0, 0), 4.0)
        assert sharpness(blurred, box, SIZE) < 0.1 * sharpness(image, box, SIZE)


def test_light_and_the_camera_s_resolution_change_little(resting):
    for image, box in resting:
        sharp = sharpness(image, box, SIZE)
        assert sharpness(lit(image, 0.5, noise=0.0), box, SIZE) == pytest.approx(sharp, rel=0.2)
        large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        assert sharpness(large, box, SIZE) == pytest.approx(sharp, rel=0.35)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (480, 640)])
@pytest.mark.parametrize("box", [None, (0.0, 0.0, 0.001, 0.001), (0.999, 0.999, 0.001, 0.001), (0.0, 0.0, 1.0, 1.0)])
def test_boxes_and_pictures_of_every_size(shape, box):
    assert sharpness(np.full((*shape, 3), 90, np.uint8), box, SIZE) == pytest.approx(0.0, abs=1e-6)


def test_the_pipeline_measures_what_it_judges_and_nothing_else():
    classifier = FunctionClassifier(CLASSES, SIZE, lambda batch: np.zeros((len(batch), 3), np.float32))
    settings = DecisionSettings()
    verdicts = make_verdicts(settings, CLASSES, RejectThresholds(min_confidence=0.5, max_energy=1000.0))
    pipeline = Pipeline(
        classifier, PreprocessSpec(size=SIZE), make_judge("item", settings, verdicts), PresenceDetector()
    )
    camera, judged = SceneCamera(None, 0.0), 0
    while (frame := camera.read()) is not None:
        step = pipeline.step(frame)
        if step.observation.prediction is not None:
            judged += 1
            assert step.observation.sharpness == sharpness(frame.image, step.presence.box, SIZE)
    assert judged > 20
