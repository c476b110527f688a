"""What the pipeline does with region, light and views; the judges and the daemon have tests of their own."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from device.assembly import assemble
from device.camera import ScriptedCamera
from device.clock import SystemClock
from device.config import load_config
from device.decision import DecisionSettings, make_verdicts
from device.frame_judges import make_judge
from device.pipeline import Pipeline
from device.presence import PresenceDetector, PresenceReading
from device.region import crop_region
from device.sinks import SinkGroup
from device.sources import parse_source
from device.steady_light import SteadyGamma
from smartbin.bundle import read_bundle
from smartbin.classifier import FunctionClassifier
from smartbin.prediction import RejectThresholds
from smartbin.preprocess import PreprocessSpec
from smartbin.runtime import open_classifier
from tests.device.staging import Bin, frames_of, lit

CLASSES = ("red", "green", "blue")
TRAY = Bin()


def make_pipeline(mode="item", *, presence=None, region=None, steady=None, seen=None, went_stale=lambda frame: False):
    def by_colour(batch):
        if seen is not None:
            seen.append(batch.copy())
        return 0.2 * batch.reshape(len(batch), -1, 3).mean(axis=1)

    settings = DecisionSettings()
    verdicts = make_verdicts(settings, CLASSES, RejectThresholds(min_confidence=0.5, max_energy=1000.0))
    classifier = FunctionClassifier(CLASSES, 32, by_colour)
    judge = make_judge(mode, settings, verdicts)
    spec = PreprocessSpec(size=32)
    return Pipeline(classifier, spec, judge, presence, steady=steady, region=region, went_stale=went_stale)


def run(pipeline, images):
    steps = [pipeline.step(frame) for frame in frames_of(images)]
    return steps, [step.decision for step in steps if step.decision is not None]


def test_the_judge_does_not_see_a_frame_that_grew_too_old_while_it_was_classified():
    late = set(range(2, 6))
    seen = []
    pipeline = make_pipeline("every_frame", seen=seen, went_stale=lambda frame: frame.seq in late)
    steps, _ = run(pipeline, [TRAY.empty()] * 8)
    assert len(seen) == 8
    assert [number for number, step in enumerate(steps, 1) if step.decision is None] == sorted(late)


def test_a_frame_that_grew_too_old_is_shown_with_its_box_in_the_whole_picture():
    region = (0.1, 0.1, 0.8, 0.8)
    images = [TRAY.empty()] * 15 + [TRAY.holding("red")] * 3

    def shown(went_stale):
        steps, _ = run(make_pipeline(presence=PresenceDetector(), region=region, went_stale=went_stale), images)
        return [step.presence.box for step in steps]

    fresh, stale = shown(lambda frame: False), shown(lambda frame: True)
    assert fresh[-1] is not None
    assert stale == fresh


class TestRegion:
    @pytest.mark.parametrize(
        ("region", "size"),
        [
            (None, (120, 160)),
            ((0.0, 0.0, 1.0, 1.0), (120, 160)),
            ((0.5, 0.0, 0.5, 1.0), (120, 80)),
            ((0.25, 0.5, 0.1, 0.25), (30, 16)),
            ((0.95, 0.95, 0.05, 0.05), (6, 8)),
        ],
    )
    def test_it_is_cut_out(self, region, size):
        assert crop_region(TRAY.empty(), region).shape[:2] == size

    def test_it_is_a_view_of_the_right_part(self):
        image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        cut = crop_region(image, (0.25, 0.5, 0.5, 0.5))
        assert (cut == image[2:4, 1:3]).all()
        assert cut.base is not None

    def test_a_tiny_picture_keeps_a_pixel(self):
        assert crop_region(np.zeros((1, 1, 3), np.uint8), (0.9, 0.9, 0.1, 0.1)).shape == (1, 1, 3)

    def visit(self, at):
        return [TRAY.empty()] * 6 + [TRAY.holding("red", at=at, size=0.4)] * 8 + [TRAY.empty()] * 8

    @pytest.mark.parametrize(("at", "labels"), [(0.75, ["red"]), (0.2, [])])
    def test_only_what_is_in_it_is_seen(self, at, labels):
        region = (0.5, 0.0, 0.5, 1.0)
        pipeline = make_pipeline(presence=PresenceDetector(), region=region)
        _, decisions = run(pipeline, self.visit(at))
        assert [decision.label for decision in decisions] == labels

    def test_another_region_is_learned_anew(self):
        pipeline = make_pipeline(presence=PresenceDetector(), region=(0.0, 0.0, 0.5, 1.0))
        frames = frames_of(self.visit(0.75)[:14])
        steps = [pipeline.step(frame) for frame in frames[:6]]
        assert not steps[-1].presence.learning
        pipeline.look_at((0.5, 0.0, 0.5, 1.0))
        assert pipeline.step(replace(frames[0], captured_s=1.0)).presence.learning
        steps = [pipeline.step(replace(frame, captured_s=1.1 + number / 10)) for number, frame in enumerate(frames)]
        assert [step.decision.label for step in steps if step.decision] == ["red"]

    def test_only_what_is_in_it_is_classified(self):
        image = TRAY.empty()
        image[:, :80], image[:, 80:] = (40, 40, 210), (40, 180, 40)
        for region, label in (((0.0, 0.0, 0.5, 1.0), "red"), ((0.5, 0.0, 0.5, 1.0), "green")):
            _, decisions = run(make_pipeline("every_frame", region=region), [image])
            assert decisions[0].label == label


class TestLight:
    def test_the_correction_of_a_stream_is_smoothed_and_that_of_photos_is_not(self):
        images = [lit(TRAY.empty(), scale, noise=0) for scale in (0.4, 0.2)]
        alone = [step.observation.exposure.gamma for step in run(make_pipeline("every_frame"), images)[0]]
        smoothed = run(make_pipeline("continuous", steady=SteadyGamma(0.15)), images)[0]
        first, second = (step.observation.exposure.gamma for step in smoothed)
        assert first == alone[0]
        assert alone[1] < second < alone[0]

    @pytest.mark.parametrize("mode", ["every_frame", "continuous"])
    def test_in_band_the_network_gets_the_camera_s_own_bits(self, mode):
        """Also right after the dark: of 32 x 32 pixels nothing is left to resize, so they are those of the picture."""
        picture = np.random.default_rng(5).integers(60, 180, (32, 32, 3), np.uint8)
        seen = []
        run(make_pipeline(mode, steady=SteadyGamma(0.15), seen=seen), [picture // 4, picture // 4, picture])
        assert len(seen) == 3
        assert np.array_equal(seen[2][0], picture[..., ::-1])
        assert seen[1].mean() > (picture // 4).mean() * 1.5, "what is out of band is not"

    def test_another_view_starts_the_smoothing_anew(self):
        images = [lit(TRAY.empty(), scale, noise=0) for scale in (0.4, 0.2)]
        alone = [step.observation.exposure.gamma for step in run(make_pipeline("every_frame"), images)[0]]
        pipeline = make_pipeline("continuous", steady=SteadyGamma(0.15))
        frames = frames_of(images)
        pipeline.step(frames[0])
        step = pipeline.step(replace(frames[1], source="another view"))
        assert step.observation.exposure.gamma == alone[1]

    @pytest.mark.parametrize(("level", "kind"), [(1, "too_dark"), (255, "too_bright")])
    def test_without_light_nothing_is_guessed(self, level, kind):
        """An item is there, then the light goes: what was not decided before is refused, and the model is not asked."""
        seen = []
        blind = np.full_like(TRAY.empty(), level)
        pipeline = make_pipeline(presence=AlwaysThere(), seen=seen)
        _, decisions = run(pipeline, [blind] * 30)
        assert [(decision.kind, decision.label, decision.bin) for decision in decisions] == [(kind, None, "general")]
        assert seen == []
        for mode in ("every_frame", "continuous"):
            _, decisions = run(make_pipeline(mode, seen=seen), [blind] * 3)
            assert {decision.kind for decision in decisions} == {kind}
            assert seen == []


class AlwaysThere:
    """A presence that needs no light."""

    def update(self, now_s, image):
        return PresenceReading(present=True, still=True)

    def relearn(self):
        """There is nothing to forget."""


def test_another_picture_size_is_another_view():
    """Also one of the same shape, whose cells would fit: the camera was opened again with another crop."""
    detector = PresenceDetector()
    pipeline = make_pipeline(presence=detector)
    large = Bin(seed=3, height=240, width=320)
    steps, _ = run(pipeline, [TRAY.empty()] * 6)
    assert not steps[-1].presence.learning
    frames = frames_of([large.empty()] * 6, start_s=1.0)
    assert pipeline.step(frames[0]).presence.learning
    assert not [pipeline.step(frame) for frame in frames[1:]][-1].presence.present


def assembled(uri, bundle_path, **overrides):
    """The pipeline of `smartbin run` for a source."""
    config = load_config(None, {"source.uri": uri, **overrides})
    bundle, stop, source = read_bundle(bundle_path), threading.Event(), parse_source(uri)
    classifier = open_classifier(bundle)
    return assemble(config, source, bundle, classifier, SinkGroup([], reader_gone=stop.set), SystemClock(), stop)


@pytest.mark.parametrize(("max_age_s", "decides"), [(30.0, True), (0.05, False)])
def test_smartbin_run_decides_nothing_by_a_frame_that_grew_too_old(tiny_bundle, max_age_s, decides):
    clock, stop, asked = SystemClock(), threading.Event(), []

    def slow(batch):
        asked.append(len(batch))
        if len(asked) == 5:
            stop.set()
        time.sleep(0.1)
        return np.ones((len(batch), 3))

    class Live(ScriptedCamera):
        """Every frame is a new one."""

        def read(self):
            time.sleep(0.005)
            return replace(super().read(), captured_s=clock.now_s())

    class Ages:
        """What was decided, and how old its frame was."""

        def __init__(self):
            self.found = []

        def start(self, session):
            pass

        def event(self, event):
            if event.decision is not None:
                self.found.append(event.age_ms)

        def frame(self, view):
            pass

        def close(self):
            pass

    ages = Ages()
    bundle, source = read_bundle(tiny_bundle), parse_source("camera:0")
    overrides = {"source.uri": "camera:0", "decision.mode": "every_frame", "source.max_age_s": max_age_s}
    config = load_config(None, overrides)
    classifier = FunctionClassifier(bundle.manifest.classes, 32, slow)
    sinks = SinkGroup([ages], reader_gone=stop.set)
    camera = Live(itertools.cycle(frames_of([TRAY.empty()])), live=True)
    daemon = assemble(config, source, bundle, classifier, sinks, clock, stop, lambda: camera)
    daemon.run()
    assert len(asked) == 5
    assert bool(ages.found) == decides
    assert max(ages.found, default=0) <= max_age_s * 1000
    assert daemon.capture_counts.too_old >= (0 if decides else 5)


@pytest.mark.parametrize(("region", "items"), [(None, 2), ([0.0, 0.0, 1.0, 0.2], 0)])
def test_smartbin_run_looks_at_the_configured_region(story, tiny_bundle, region, items):
    """The story's items lie in the middle half of the height."""
    daemon = assembled(f"scene:{story}", tiny_bundle, **{"presence.region": region, "source.pace": "fast"})
    assert daemon.run().items == items


def test_smartbin_run_smooths_streams_and_no_photos(story, colour_folder, tiny_bundle):
    steady = assembled(f"scene:{story}", tiny_bundle, **{"light.smooth_s": 0.5})._pipeline._steady
    steady.follow(0.0, 0.5)
    assert steady.follow(0.5, 1.5) == pytest.approx(0.5 * 3 ** (1 - np.exp(-1)), abs=0.001)
    assert assembled(str(colour_folder), tiny_bundle)._pipeline._steady is None
    assert assembled(str(colour_folder), tiny_bundle, **{"decision.mode": "item"})._pipeline._steady is None


def test_the_configured_region_and_light_are_read(tmp_path):
    path = tmp_path / "bin.toml"
    path.write_text("[presence]\nregion = [0.1, 0, 0.8, 1]\n[light]\nsmooth_s = 0\n[sensor]\npin = 'GPIO17'\n")
    config = load_config(path, {})
    assert config.presence.region == (0.1, 0.0, 0.8, 1.0)
    assert config.light.smooth_s == 0
    assert config.sensor is not None
    assert (config.sensor.pin, config.sensor.pull) == ("GPIO17", "up")
