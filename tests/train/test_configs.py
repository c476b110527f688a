"""The shipped configurations: that each loads, and that the original ones are what the original work did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from smartbin.config import load_settings
from smartbin.preprocess import to_input
from tests.conftest import draw_photo
from train.augmentation.augment import Augmentation
from train.augmentation.draws import random_box
from train.config import CONFIGS, TrainConfig, find_config, resolve
from train.run import main
from train.schedule import rate_factor
from train.set_up import set_up

ORIGINALS = ("original_resnet50", "original_inception_v3")


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_shipped_configuration_loads(file: Path) -> None:
    assert load_settings(TrainConfig, file, {"data": "garbage"}).model


def test_originals_are_shipped_and_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ORIGINALS:
        assert find_config(Path(name)) == find_config(Path(f"{name}.toml")) == CONFIGS / f"{name}.toml"
    (tmp_path / "original_resnet50.toml").write_text("epochs = 3\n")  # one's own file comes first
    assert find_config(Path("original_resnet50.toml")) == Path("original_resnet50.toml")
    assert find_config(Path("elsewhere/original_resnet50")) == Path("elsewhere/original_resnet50")


@pytest.mark.parametrize(
    ("name", "trained", "side"),
    [
        ("original_resnet50", {"layer4", "fc"}, 224),
        ("original_inception_v3", {"Mixed_7a", "Mixed_7b", "Mixed_7c", "fc"}, 299),
    ],
)
def test_original_optimizer_and_network(photos: Path, tmp_path: Path, name: str, trained: set[str], side: int) -> None:
    overrides = {"data": str(photos), "weights": "none", "machine.device": "cpu", "machine.workers": 0}
    config = load_settings(TrainConfig, CONFIGS / f"{name}.toml", overrides)
    training = set_up(config, tmp_path / "run")
    optimizer = training.optimizer.optimizer  # type: ignore[attr-defined]  # Fabric's wrapper holds it
    assert type(optimizer) is torch.optim.Adam
    groups = optimizer.param_groups
    assert {(group["lr"], group["weight_decay"], *group["betas"], group["eps"]) for group in groups} == {
        (5.5e-5, 0.0, 0.9, 0.999, 1e-8)
    }
    learning = {id(value) for group in groups for value in group["params"]}
    names = {key.split(".")[0] for key, value in training.model.named_parameters() if id(value) in learning}
    assert names == trained
    assert training.ema is None
    assert training.frozen.resting == ()
    recipe = config.recipe
    assert {rate_factor(step, 440, round(recipe.warmup * 440), recipe.schedule) for step in range(440)} == {1.0}
    assert (config.epochs, recipe.batch, config.train_side, config.preprocess.size) == (8, 32, side, side)
    switched_off = (recipe.label_smoothing, recipe.mixup, recipe.cutmix, recipe.balance, recipe.clip_norm)
    assert switched_off == (0, 0, 0, 0, 0)
    bound = training.model.fc.in_features**-0.5  # type: ignore[union-attr,operator]  # a fresh linear layer
    assert 0.9 * bound < float(training.model.fc.weight.detach().abs().max()) <= bound  # type: ignore[union-attr,operator,arg-type]


@pytest.mark.parametrize("name", ORIGINALS)
def test_original_augmentation_is_crop_and_horizontal_flip_only(name: str) -> None:
    config = load_settings(TrainConfig, CONFIGS / f"{name}.toml", {"data": "garbage"})
    augmentation = Augmentation(config.augment, 64, config.brightness)
    plain = np.full((90, 120, 3), (40, 20, 10), np.uint8)  # dark: a brightness correction would show
    assert all((augmentation(plain, seed) == (10, 20, 40)).all() for seed in range(40))

    ramp = np.zeros((90, 120, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 120)[None, :]
    ramp[..., 2] = np.linspace(0, 255, 90)[:, None]
    slopes = [
        np.gradient(augmentation(ramp, seed).astype(float).mean(axis=axis), axis=0).mean(axis=0)
        for seed in range(40)
        for axis in (0, 1)
    ]
    across, down = [slope[2] for slope in slopes[0::2]], [slope[0] for slope in slopes[1::2]]
    assert 10 < sum(slope < 0 for slope in across) < 30  # mirrored about half of the time
    assert all(slope > 0 for slope in down)  # never upside down, never turned

    rng = np.random.default_rng(0)
    boxes = [random_box(384, 512, config.augment, rng) for _ in range(2000)]
    areas = np.array([box.height * box.width / (384 * 512) for box in boxes])
    ratios = np.array([box.width / box.height for box in boxes])
    assert 0.078 < areas.min() < 0.1
    assert areas.max() > 0.95
    assert 0.74 < ratios.min() < 0.77
    assert 1.31 < ratios.max() < 1.36


def test_original_validation_photo_is_the_central_crop() -> None:
    config = load_settings(TrainConfig, CONFIGS / "original_resnet50.toml", {"data": "garbage"})
    photo = draw_photo(0, 384, 512)
    photo[:24], photo[-24:], photo[:, :88], photo[:, -88:] = 255, 255, 255, 255  # what Resize(256), CenterCrop(224) cut
    photo[24:-24, 88:-88] = 100
    assert (to_input(photo, config.preprocess).image == 100).all()


@pytest.mark.usefixtures("no_report")
def test_flags_override_the_file_and_a_run_comes_of_it(photo_folder: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--model", "tiny", "--weights", "none", "--smoke", "--workers", "0", "--freeze", "1", "--device", "cpu"]
    arguments = ["--config", "original_resnet50", "--data", str(photo_folder({"a": 12, "b": 12})), "--out", str(out)]
    assert main([*arguments, *flags]) == 0
    config = load_settings(TrainConfig, out / "config.toml")
    assert (config.model, config.recipe.optimizer, config.recipe.freeze, config.epochs) == ("tiny", "adam", 1, 1)
    assert resolve(config) == config
