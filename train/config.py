"""What a training run can be told: one typed model, read from TOML, environment and command line.

Every field is a flag of `train/run.py` as well: its name with dashes. In a TOML file the fields of `recipe`, `augment`,
`machine` and `brightness` stand in tables of that name. Environment: `SMARTBIN_TRAIN_EPOCHS=30`,
`SMARTBIN_TRAIN_RECIPE__EMA_DECAY=.99`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tomlkit
from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from smartbin.brightness import BrightnessSettings
from smartbin.config import TRAIN_PREFIX, SmartbinSettings
from smartbin.errors import ConfigError
from smartbin.preprocess import PreprocessSpec
from train.augmentation.config import Augment
from train.datasets.named_sets import NAMED_SETS
from train.datasets.root import default_data_root
from train.machine_config import Machine
from train.networks.architectures import architecture_of
from train.networks.network import DOWNLOADS
from train.recipe import Recipe

__all__ = ["Augment", "Machine", "Recipe", "TrainConfig", "default_data_root", "resolve", "to_toml"]

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS = Path(__file__).resolve().parent / "configs"
"""The shipped configurations."""
_SMOKE_SIZE = 64
_PHOTO_SIDE = 640
_USUAL_ASPECT = 4 / 3  # of a photo, long side to short side


class TrainConfig(SmartbinSettings):
    """A training run."""

    model_config = SettingsConfigDict(
        env_prefix=TRAIN_PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    data: Annotated[tuple[str, ...], NoDecode] = Field(min_length=1)
    """One or more of: garbage, recycle, recycle-small, combined (garbage and recycle; these are looked for in
    data_root), and folders with one folder of photos per class."""
    data_root: Path = Field(default_factory=default_data_root)
    """Where the named data sets are: a folder that holds `garbage` and `recycle`, or the garbage data set's own; also
    the environment variable SMARTBIN_DATA."""
    extra: Annotated[tuple[str, ...], NoDecode] = ()
    """Named data sets or folders of class folders to train on as well, such as rendered pictures; never validated or
    tested on."""
    classes: str = "auto"
    """auto: the garbage data set's six where a folder has one of these names, else the folder's own; any: whatever
    folders there are; or names with commas. A folder that is not among them is an error."""
    split: Literal["auto", "published", "seeded", "grouped"] = "auto"
    """published: the data set's own (garbage: all parts; recycle: its test part); seeded: stratified, from the seed;
    grouped: seeded, but photos of one object stay in one part; auto: published where the names fit, else seeded; with
    folds grouped."""
    group_weights: str = "imagenet"
    """For a grouped split: weights of the EfficientNet-Lite0 that sees which photos show one object: imagenet
    (download) or a file."""
    folds: int = Field(default=0, ge=0)
    """k-fold: cut all photos of a seeded or grouped split into as many folds, one for validation; 0: no folds."""
    fold: int = Field(default=0, ge=0)
    """Which fold is for validation, from 0 on."""
    val_part: float = Field(default=0.15, gt=0, lt=0.5)
    """Part of each class for validation in a seeded split."""
    test_part: float = Field(default=0.15, ge=0, lt=0.5)
    """Part of each class for the test in a seeded split."""
    min_photos: int = Field(default=10, ge=3)
    """A class with fewer photos is an error."""
    review: Literal["off", "on"] = "off"
    """on: training photos that were found to be wrongly labelled, or copies of validation or test photos, are left out
    (`train/datasets/reviews`). Off by default: figures stay comparable with others' on the published split."""
    limit: int = Field(default=0, ge=0)
    """At most this many photos per class, part and source, for quick runs; 0: all."""
    model: str = "efficientnet_lite0"
    """Architecture."""
    weights: str = "imagenet"
    """Starting weights: imagenet or imagenet_v1 (downloads: the best ones, the first ones), none, or a file."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the training photos."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything random."""
    train_size: int = Field(default=0, ge=0)
    """Side of a training image, pixels; 0: the architecture's."""
    test_size: int = Field(default=0, ge=0)
    """Side of the network input on the device, pixels; 0: the architecture's."""
    max_aspect: float = Field(default=4 / 3, ge=1, le=4)
    """The device crops a photo to at most this aspect ratio, then stretches it to the square; 1: a square crop."""
    crop: float = Field(default=1.0, gt=0.1, le=1)
    """Central part of each side that the device keeps."""
    plain_train_photos: int = Field(default=256, ge=0)
    """Training photos whose loss without augmentation is logged after each epoch, beside that of the validation photos;
    always the same ones; 0: none."""
    loss_parts: bool = True
    """At the end, measure on these photos what augmentation, dropout, batch statistics and averaging do to the loss."""
    teacher: Annotated[tuple[str, ...], NoDecode] = ()
    """One or more finished runs with the same classes, whose answers the network learns as well."""
    out: Path | None = None
    """Run directory; default runs/MODEL-DATE-TIME."""
    outsiders: bool = True
    """At the end, measure pictures of other things as well: how many the finished network says "unsure" about."""
    tensorboard: bool = True
    """Write figures and pictures for TensorBoard into RUN/tensorboard: `tensorboard --logdir runs` shows them."""
    smoke: bool = False
    """A run of seconds: 1 epoch, 8 photos per class, 64 px. Overrides epochs, limit and sizes."""
    recipe: Recipe = Recipe()
    augment: Augment = Augment()
    brightness: BrightnessSettings = BrightnessSettings()
    machine: Machine = Machine()

    @property
    def grouped(self) -> bool:
        """Whether photos of one object stay in one part."""
        return self.split == "grouped" or (self.split == "auto" and self.folds > 0)

    @field_validator("data", "extra", "teacher", mode="before")
    @classmethod
    def _read_names(cls, value: object) -> object:
        """A single name may stand without a list; in the environment several stand in a JSON list."""
        if not isinstance(value, str):
            return value
        return json.loads(value) if value.startswith("[") else (value,)

    @model_validator(mode="after")
    def _check_folds(self) -> TrainConfig:
        if self.folds == 1:
            raise ValueError("folds must be 0, or 2 and more, but is 1")
        if self.folds and self.split == "published":
            raise ValueError("with folds, split must be seeded or grouped, but is 'published'")
        if self.fold >= max(1, self.folds):
            raise ValueError(f"fold must be below folds ({self.folds}), but is {self.fold}")
        return self

    @model_validator(mode="after")
    def _check_model(self) -> TrainConfig:
        try:
            architecture = architecture_of(self.model)
        except ConfigError as error:
            raise ValueError(f"model must be one of {error.expected}, but is {self.model!r}") from error
        least_train = architecture.min_train_size if self.recipe.auxiliary else architecture.min_test_size
        for name, size, least in (
            ("train_size", self.train_side, least_train),
            ("test_size", self.preprocess.size, architecture.min_test_size),
        ):
            if architecture.fixed_size and size != least:
                raise ValueError(f"{name} must be {least} for {self.model}, which takes no other, but is {size}")
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
    def photo_side(self) -> int:
        """Longest side of a training photo before augmentation, pixels."""
        needed = self.train_side / math.sqrt(self.augment.min_scale) * _USUAL_ASPECT
        return self.augment.photo_side or max(_PHOTO_SIDE, 32 * math.ceil(needed / 32))

    @property
    def preprocess(self) -> PreprocessSpec:
        """The device preprocessing that the network is validated with and delivered for."""
        return PreprocessSpec(
            size=self.test_size or architecture_of(self.model).test_size,
            max_aspect=self.max_aspect,
            crop=self.crop,
            brightness=self.brightness,
        )


def find_config(given: Path) -> Path:
    """A configuration file: the one of that path, else the shipped one of that name, such as `original_resnet50`."""
    shipped = CONFIGS / given.name
    for file in (shipped, shipped.with_suffix(".toml")):
        if not given.exists() and given.parent == Path() and file.is_file():
            return file
    return given


def resolve(config: TrainConfig) -> TrainConfig:
    """The configuration with `smoke` spelled out and absolute paths, so that it means the same anywhere."""
    paths = {
        "group_weights": _whole_path(config.group_weights),
        "data": _whole_places(config.data),
        "extra": _whole_places(config.extra),
        "teacher": tuple(str(Path(run).resolve()) for run in config.teacher),
        "data_root": config.data_root.resolve(),
        "weights": _whole_path(config.weights),
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


def _whole_places(data: Sequence[str]) -> tuple[str, ...]:
    return tuple(item if item in NAMED_SETS else str(Path(item).resolve()) for item in data)


def _whole_path(weights: str) -> str:
    return weights if weights in ("none", *DOWNLOADS) else str(Path(weights).resolve())


def to_toml(config: TrainConfig) -> str:
    """The configuration as TOML that `load_settings` reads back to an equal one."""
    return tomlkit.dumps(config.model_dump(mode="json", exclude_none=True))
