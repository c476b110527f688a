"""What a training run can be told: one typed model, read from TOML, environment and command line.

Every field is a flag of `train/run.py` as well: its name with dashes. In a TOML file the fields of `recipe`, `augment`,
`machine` and `brightness` stand in tables of that name. Environment: `SMARTBIN_TRAIN_EPOCHS=30`,
`SMARTBIN_TRAIN_RECIPE__EMA_DECAY=.99`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import SettingsConfigDict

from smartbin.brightness import BrightnessSettings
from smartbin.config import SmartbinSettings
from smartbin.preprocess import PreprocessSpec
from train.architectures import ARCHITECTURES, architecture_of

REPOSITORY = Path(__file__).resolve().parent.parent
_SMOKE_SIZE = 64
DATA_VARIABLE = "SMARTBIN_DATA"


def default_data_root() -> Path:
    """`SMARTBIN_DATA`, else the folder `shared/data/trashnet` beside the repository."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else REPOSITORY.parent / "shared" / "data" / "trashnet"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Recipe(_Section):
    """How the network learns."""

    batch: int = Field(default=32, ge=1)
    """Photos in a step."""
    head_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate of everything that starts random: the head, and stages that the weights lack."""
    backbone_rate: float = Field(default=3e-4, gt=0)
    """Peak learning rate of the last stage with loaded weights."""
    stage_decay: float = Field(default=0.85, gt=0, le=1)
    """Factor on the backbone rate for each stage further to the front."""
    weight_decay: float = Field(default=0.02, ge=0)
    """AdamW weight decay; biases and norms have none."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Part of all steps over which the rates rise to their peak; then they fall along a half cosine."""
    clip_norm: float = Field(default=2.0, ge=0)
    """Gradients with a larger norm are scaled down to it; 0 leaves them."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Part of the target spread evenly over all classes."""
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Decay a step of the weights' moving average, which is what a run delivers; smaller in the first steps."""
    balance: float = Field(default=0.5, ge=0, le=1)
    """Class balance of the sampler: a class of n photos is drawn n**(1 - balance) often. 0: as they come; 1: evenly."""
    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup; 0 is off."""
    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of cutmix; 0 is off. With both on, each batch gets one of the two."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout in front of the classifier."""
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    """Stochastic depth, for architectures that have it (EfficientNet)."""
    auxiliary: float = Field(default=0.4, ge=0)
    """Weight of InceptionV3's auxiliary loss."""
    freeze_until: str = ""
    """Name of the first stage that is trained; those in front of it are frozen, batch-norm statistics included."""


class Augment(_Section):
    """What happens to training photos, and to no others. It ends where the device's brightness correction begins."""

    enabled: bool = True
    """Off: training photos go through the device preprocessing, like all others."""
    min_scale: float = Field(default=0.35, gt=0, le=1)
    """Smallest part of the photo's area that a crop keeps."""
    min_ratio: float = Field(default=0.75, gt=0)
    """Narrowest crop, width / height, before it is stretched to the square."""
    max_ratio: float = Field(default=1.5, gt=0)
    """Widest crop. The device stretches 4:3, so the range is centred above 1."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of each of the two flips: an item lies any way up in a bin."""
    turn: float = Field(default=0.5, ge=0, le=1)
    """Probability of a quarter turn."""
    colour: Literal["trivial", "jitter", "none"] = "trivial"
    """`trivial`: TrivialAugmentWide (one of 14 operations, arXiv 2103.10158); `jitter`: ColorJitter."""
    light: float = Field(default=0.4, ge=0, le=1)
    """Probability of another light: exposure, white balance and sensor noise, in linear light."""
    darkest: float = Field(default=1 / 32, gt=0, le=1)
    """Least light, as a part of the photo's own; drawn evenly in stops."""
    brightest: float = Field(default=2.0, ge=1)
    """Most light."""
    white_balance: float = Field(default=0.25, ge=0, lt=1)
    """Red and blue gain go up or down by at most this part."""
    erase: float = Field(default=0.15, ge=0, le=1)
    """Probability that a rectangle (2 to 20 % of the area) is filled with noise."""

    @model_validator(mode="after")
    def _check_ratios(self) -> Augment:
        if self.min_ratio > self.max_ratio:
            raise ValueError("min_ratio must not be above max_ratio")
        return self


class Machine(_Section):
    """How this machine is used; changes nothing in the result, except in the last digits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; auto takes CUDA when there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on CUDA and on CPUs with bf16 instructions, else fp32. Weights are always kept in float32."""
    workers: int = Field(default=-1, ge=-1)
    """Processes that load photos; -1: 4, or the number of CPUs if smaller; 0: none, load in the training process."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of the network; 0: torch's choice."""
    cache: Literal["auto", "ram", "none"] = "auto"
    """ram: every photo is decoded once and kept; auto: if that takes at most a quarter of the memory."""


class TrainConfig(SmartbinSettings):
    """A training run."""

    model_config = SettingsConfigDict(
        env_prefix="SMARTBIN_TRAIN_", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    data: str
    """`garbage` (looked for in data_root), or a folder with one folder of photos per class."""
    data_root: Path = Field(default_factory=default_data_root)
    """Where `garbage` is; also the environment variable SMARTBIN_DATA."""
    classes: str = "auto"
    """auto: the garbage data set's six where a folder has one of these names, else the folder's own; any: whatever
    folders there are; or names with commas. A folder that is not among them is an error."""
    split: Literal["auto", "published", "seeded"] = "auto"
    """published: the garbage data set's own; seeded: stratified, from the seed; auto: published where the names fit."""
    val_part: float = Field(default=0.15, gt=0, lt=0.5)
    """Part of each class for validation in a seeded split."""
    test_part: float = Field(default=0.15, ge=0, lt=0.5)
    """Part of each class for the test in a seeded split."""
    min_photos: int = Field(default=10, ge=3)
    """A class with fewer photos is an error."""
    limit: int = Field(default=0, ge=0)
    """At most this many photos per class and part, for quick runs; 0: all."""
    model: str = "efficientnet_lite0"
    """Architecture."""
    weights: str = "imagenet"
    """Starting weights: imagenet (download), none, or a file."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the training photos."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random."""
    train_size: int = Field(default=0, ge=0)
    """Side of a training image, pixels; 0: the architecture's."""
    test_size: int = Field(default=0, ge=0)
    """Side of the network input on the device, pixels; 0: the architecture's."""
    out: Path | None = None
    """Run directory; default runs/MODEL-DATE-TIME."""
    smoke: bool = False
    """A run of seconds: 1 epoch, 8 photos per class, 64 px. Overrides epochs, limit and sizes."""
    recipe: Recipe = Recipe()
    augment: Augment = Augment()
    brightness: BrightnessSettings = BrightnessSettings()
    machine: Machine = Machine()

    @model_validator(mode="after")
    def _check_model(self) -> TrainConfig:
        if self.model not in ARCHITECTURES:
            raise ValueError(f"model must be one of {', '.join(ARCHITECTURES)}, but is {self.model!r}")
        architecture = architecture_of(self.model)
        for name, size, least in (
            ("train_size", self.train_side, architecture.min_train_size),
            ("test_size", self.preprocess.size, architecture.min_test_size),
        ):
            if size < least:
                raise ValueError(f"{name} must be at least {least} for {self.model}, but is {size}")
        stages = architecture.stage_names
        if self.recipe.freeze_until and self.recipe.freeze_until not in stages:
            raise ValueError(f"freeze_until must be one of {', '.join(stages)}, but is {self.recipe.freeze_until!r}")
        return self

    @property
    def train_side(self) -> int:
        """Side of a training image, pixels."""
        return self.train_size or architecture_of(self.model).train_size

    @property
    def preprocess(self) -> PreprocessSpec:
        """The device preprocessing that the network is validated with and delivered for."""
        return PreprocessSpec(size=self.test_size or architecture_of(self.model).test_size, brightness=self.brightness)


def resolve(config: TrainConfig) -> TrainConfig:
    """The configuration with `smoke` spelled out and absolute paths, so that it means the same anywhere."""
    paths = {
        "data": config.data if config.data == "garbage" else str(Path(config.data).resolve()),
        "data_root": config.data_root.resolve(),
        "weights": config.weights if config.weights in ("none", "imagenet") else str(Path(config.weights).resolve()),
    }
    config = config.model_copy(update=paths)
    if not config.smoke:
        return config
    architecture = architecture_of(config.model)
    tiny = {
        "epochs": 1,
        "limit": 8,
        "train_size": max(_SMOKE_SIZE, architecture.min_train_size),
        "test_size": max(_SMOKE_SIZE, architecture.min_test_size),
    }
    recipe = config.recipe.model_copy(update={"batch": min(config.recipe.batch, 8)})
    return config.model_copy(update={**tiny, "recipe": recipe})


def to_toml(config: TrainConfig) -> str:
    """The configuration as TOML that `load_settings` reads back to an equal one."""
    return tomlkit.dumps(config.model_dump(mode="json", exclude_none=True))
