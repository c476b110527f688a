"""The parts of the recipe: sampler, schedule, rates, augmentation, architectures and their weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smartbin.brightness import BrightnessSettings
from smartbin.errors import ConfigError
from tests.conftest import draw_photo
from train.augmentation.augment import Augmentation
from train.augmentation.draws import random_box
from train.augmentation.lighting import Light, relight
from train.config import Augment
from train.inference import normalise
from train.loader import epoch_batches, epoch_keys
from train.metrics import Outputs, score
from train.networks.architectures import ARCHITECTURES, architecture_of, split_outputs
from train.networks.freezing import freeze
from train.networks.weights import load_weights
from train.recipe import Recipe
from train.schedule import rate_factor, rate_groups

LABELS = ["much"] * 60 + ["some"] * 30 + ["rare"] * 6


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(0.0, {"much": 60, "some": 30, "rare": 6}), (1.0, {"much": 32, "some": 32, "rare": 32})],
    ids=["as they come", "evenly"],
)
def test_sampler_balances_classes(balance: float, expected: dict[str, int]) -> None:
    keys = epoch_keys(LABELS, balance, seed=0, epoch=0)
    assert Counter(LABELS[key.photo] for key in keys) == expected
    drawn = Counter(key.photo for key in keys if LABELS[key.photo] == "rare")
    assert max(drawn.values()) - min(drawn.values()) <= 1  # none is used twice before all were used once
    assert len({key.seed for key in keys}) == len(keys)


def test_epochs_differ_and_repeat() -> None:
    assert epoch_keys(LABELS, 0.5, 0, 3) == epoch_keys(LABELS, 0.5, 0, 3)
    assert epoch_keys(LABELS, 0.5, 0, 3) != epoch_keys(LABELS, 0.5, 0, 4)


@given(st.integers(1, 200), st.integers(1, 64))
def test_no_batch_is_too_small_for_batch_norm(count: int, size: int) -> None:
    batches = epoch_batches(epoch_keys(["a"] * count, 0, 0, 0), size)
    assert batches
    assert all(len(batch) == min(size, count) for batch in batches)


def test_rate_rises_then_falls() -> None:
    factors = [rate_factor(step, 100, 10) for step in range(100)]
    assert factors.index(max(factors)) == 10
    assert max(factors) == 1.0
    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.02


def test_rates_fall_towards_the_front_and_random_parts_learn_fast() -> None:
    architecture = architecture_of("resnet50")
    model = architecture.build(6, 0.0, 0.0)
    loaded = frozenset(name for name in model.state_dict() if not name.startswith(("layer4", "fc")))
    freeze(model, architecture, Recipe(freeze_until="layer2"), loaded)
    groups = rate_groups(
        model, architecture, loaded, head_rate=1e-2, backbone_rate=1e-3, stage_decay=0.5, weight_decay=0.1
    )
    rates = {group.name: group.rate for group in groups if group.weight_decay}
    assert rates == pytest.approx({"layer2": 2.5e-4, "layer3": 5e-4, "random": 1e-2})
    biases = next(group for group in groups if group.name == "random (no decay)")
    assert all(parameter.ndim == 1 for parameter in biases.parameters)


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"tiny"}))
def test_every_entry_of_every_architecture_has_a_stage(name: str) -> None:
    architecture = architecture_of(name)
    model = architecture.build(5, 0.1, 0.1).eval()
    assert {architecture.stage_of(entry) for entry in model.state_dict()} == set(range(len(architecture.stages)))
    with torch.inference_mode():
        logits, auxiliary = split_outputs(
            model(torch.zeros(1, 3, architecture.min_test_size, architecture.min_test_size))
        )
    assert logits.shape == (1, 5)
    assert auxiliary is None  # in eval mode


@pytest.mark.parametrize(
    ("name", "file", "loaded", "missing"),
    [
        ("efficientnet_lite0", "tf_efficientnet_lite0_imagenet", 245, {"head"}),
        ("efficientnet_lite2", "tf_efficientnet_lite2_imagenet", 320, {"head"}),
        ("resnet50", "resnet50_imagenet_stages1to3", 220, {"layer4", "head"}),
        ("inception_v3", "inception_v3_features", 470, {"head"}),
    ],
)
def test_starting_weights_are_loaded_and_accounted_for(
    starting_weights: Path, name: str, file: str, loaded: int, missing: set[str]
) -> None:
    architecture = architecture_of(name)
    model = architecture.build(6, 0.0, 0.0)
    result = load_weights(model, architecture, str(starting_weights / f"{file}.safetensors"))
    assert len(result.loaded) == loaded
    assert {architecture.stage_names[architecture.stage_of(entry)] for entry in result.missing} == missing
    assert not result.head_loaded
    assert all(value.dtype == torch.float32 for entry, value in model.state_dict().items() if value.is_floating_point())
    assert f"{loaded} entries loaded" in result.summary()


def test_augmentation_is_a_function_of_the_seed() -> None:
    augmentation = Augmentation(Augment(), 32, BrightnessSettings())
    photo = draw_photo(3, 96, 128)
    before = photo.copy()
    torch_state = torch.get_rng_state()
    first = [augmentation(photo, seed) for seed in range(12)]
    again = [augmentation(photo, seed) for seed in range(12)]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert len({image.tobytes() for image in first}) == 12
    assert {(image.shape, image.dtype.name) for image in first} == {((32, 32, 3), "uint8")}
    assert np.array_equal(photo, before)
    assert torch.equal(torch.get_rng_state(), torch_state)  # dropout's generator is left alone


@given(st.integers(8, 600), st.integers(8, 600), st.integers(0, 2**32))
@settings(max_examples=60)
def test_crops_lie_inside_the_photo(height: int, width: int, seed: int) -> None:
    box = random_box(height, width, Augment(), np.random.default_rng(seed))
    assert box.height >= 1
    assert box.width >= 1
    assert 0 <= box.top <= height - box.height
    assert 0 <= box.left <= width - box.width


def test_relight_darkens_brightens_and_tints() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    neutral = (1.0, 1.0, 1.0)
    assert relight(grey, rng, light=0.25, gains_bgr=neutral).mean() < 75
    assert relight(grey, rng, light=2.0, gains_bgr=neutral).mean() > 165
    blue, green, red = relight(grey, rng, light=1.0, gains_bgr=(0.8, 1.0, 1.2)).mean(axis=(0, 1))
    assert blue < green < red
    noise = [relight(grey, rng, light=1 / 32, gains_bgr=neutral, binned=binned).std() for binned in (1, 16)]
    assert noise[1] < noise[0]  # a shrunk photo has averaged its noise


def test_a_stated_light_is_the_same_for_the_same_seed() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert Light().on(grey, 0) is grey
    dark = Light(exposure=0.25, noise=2.0)
    assert np.array_equal(dark.on(grey, 5), dark.on(grey, 5))
    assert not np.array_equal(dark.on(grey, 5), dark.on(grey, 6))
    assert dark.on(grey, 0).std() == pytest.approx(2 * Light(exposure=0.25).on(grey, 0).std(), rel=0.1)
    for wrong in ({"exposure": 0.0}, {"exposure": 100.0}, {"noise": -1.0}):
        with pytest.raises(ConfigError, match="no such light"):
            Light(**wrong)


def test_normalise_matches_the_formula() -> None:
    architecture = architecture_of("resnet50")
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).reshape(1, 1, 1, 3).expand(2, 4, 4, 3)
    inputs = normalise(images, architecture)
    assert inputs.shape == (2, 3, 4, 4)
    expected = [
        (value / 255 - mean) / std
        for value, mean, std in zip((0, 128, 255), architecture.mean, architecture.std, strict=True)
    ]
    assert inputs[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_score_of_a_known_confusion() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 0]] * 9
    figures = score(Outputs(logits, np.array([0, 0, 1, 1, 1])), ["a", "b", "c"])
    assert (figures.correct, figures.photos, figures.accuracy) == (4, 5, 0.8)
    assert figures.confusion == [[2, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert figures.per_class[0].precision == pytest.approx(2 / 3)
    assert figures.per_class[2].recall is None
    assert figures.interval_low < 0.8 < figures.interval_high
