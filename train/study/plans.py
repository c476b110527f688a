"""The studies: a question, the runs that answer it, and what each run is measured on.

A run is stated as the settings in which it differs from the command line's: dotted keys of `TrainConfig`, and `config`,
the name of a shipped configuration that it starts from. `train/study/command.py` trains, measures and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from smartbin.brightness import BrightnessSettings
from smartbin.errors import ConfigError
from train.augmentation.lighting import Light
from train.config import CONFIGS
from train.networks.architectures import architecture_of
from train.study.measure import Condition

Settings: TypeAlias = Mapping[str, object]
"""Dotted keys of `TrainConfig` and their values; `config` names the configuration below them."""

DARK_ONLY, TESTED = "dark photos only", "tested at "
THEIRS, OURS = ", original recipe", ", ours"
EXPOSURES = (2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
NOISY_EXPOSURES = (1.0, 0.25, 0.0625)
NOISE = 3.0
WARM_LIGHT = (0.7, 1.0, 1.3)  # blue, green, red: a bulb beside daylight


@dataclass(frozen=True, slots=True)
class Network:
    """A network to compare, and its own starting weights: a file or a download; empty: those of all runs."""

    name: str
    weights: str = ""

    @property
    def settings(self) -> Settings:
        """Those of a run of it."""
        return {"model": self.name, **({"weights": self.weights} if self.weights else {})}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says of a study."""

    models: tuple[Network, ...]
    data_sets: tuple[str, ...]
    measure: tuple[Path, ...]
    given: Settings
    """Training settings of all runs."""
    rendered: str = ""
    """A folder of rendered pictures to train on."""
    so_far: bool = False
    """Only what is finished."""
    only: tuple[str, ...] = ()
    """Train runs with one of these in their name; empty: all."""


@dataclass(frozen=True, slots=True)
class Study:
    """A question and how it is answered."""

    name: str
    question: str
    runs: Callable[[Choice], Mapping[str, Settings]]
    """Name of each run to its settings."""
    config: str = ""
    """Name of a shipped configuration that all runs start from."""
    conditions: Callable[[], Sequence[Condition]] = field(default=lambda: (Condition(),))


def _fixed(runs: Mapping[str, Settings]) -> Callable[[Choice], Mapping[str, Settings]]:
    return lambda choice: runs


def _models(choice: Choice) -> Mapping[str, Settings]:
    names = [Path(data).name for data in choice.data_sets]
    if len(set(names)) < len(names):
        raise ConfigError("data sets of one name", where="--data-sets", found=", ".join(choice.data_sets))
    return {
        f"{_short(network)} on {name}": {**network.settings, "data": [data]}
        for name, data in zip(names, choice.data_sets, strict=True)
        for network in choice.models
    }


def _original(choice: Choice) -> Mapping[str, Settings]:
    """Every network by the recipe of the work that smartbin starts from, and by ours, from the same weights."""
    runs: dict[str, Settings] = {}
    for network in choice.models:
        shipped = f"original_{network.name}"
        theirs: dict[str, object] = {**network.settings}
        if (CONFIGS / f"{shipped}.toml").is_file():
            theirs["config"] = shipped
        else:  # a network that they did not train: all of it
            theirs |= {"config": "original_resnet50", "recipe.freeze": 0}
        if "train_size" in choice.given:
            theirs["test_size"] = choice.given["train_size"]
        ours: dict[str, object] = {**network.settings}
        if not network.weights and "weights" not in choice.given:
            ours["weights"] = theirs["weights"] = (
                "imagenet_v1" if architecture_of(network.name).download_v1 else "imagenet"
            )
        runs |= {f"{_short(network)}{THEIRS}": theirs, f"{_short(network)}{OURS}": ours}
    return runs


def _short(network: Network) -> str:
    return network.name.replace("timm:", "")


def _with_teachers(choice: Choice) -> Mapping[str, Settings]:
    if "teacher" not in choice.given:
        raise ConfigError("no teacher", where="study distillation", fix="name one or more finished runs: --teacher RUN")
    return {
        "labels alone": {"teacher": []},
        "half from teachers": {},
        "nine tenths from teachers": {"recipe.distill_weight": 0.9},
    }


_NO_CORRECTION: Settings = {"brightness.enabled": False}
_DARK_PHOTOS: Settings = {"augment.light": 1.0, "augment.darkest": 1 / 16, "augment.brightest": 1 / 4}

DARK_RUNS: Mapping[str, Settings] = {
    "neither": {"augment.light": 0.0, **_NO_CORRECTION},
    "correction": {"augment.light": 0.0},
    "augmentation": _NO_CORRECTION,
    "both": {},
    DARK_ONLY: {**_DARK_PHOTOS, **_NO_CORRECTION},
    f"{DARK_ONLY}, correction": _DARK_PHOTOS,
}


def exposure_name(exposure: float) -> str:
    """×2, ×1, ×1/4, …"""
    return f"×{Fraction(exposure).limit_denominator(1024)}"


def light_conditions() -> tuple[Condition, ...]:
    """Every exposure, some with more noise or by a warm bulb, corrected or not as in training."""
    return (
        *(Condition(exposure_name(exposure), Light(exposure=exposure)) for exposure in EXPOSURES),
        *(Condition(f"{exposure_name(value)}, noise ×{NOISE:g}", Light(value, NOISE)) for value in NOISY_EXPOSURES),
        Condition("×1/4, warm bulb", Light(0.25, gains_bgr=WARM_LIGHT)),
    )


def dark_conditions() -> tuple[Condition, ...]:
    """The same, and again with the correction switched on or off on the device, whatever it was in training."""
    on, off = BrightnessSettings(), BrightnessSettings(enabled=False)
    return (
        *light_conditions(),
        *(Condition(f"{item.name}, correction on", item.light, on) for item in light_conditions()),
        *(Condition(f"{item.name}, correction off", item.light, off) for item in light_conditions()),
    )


_BRIGHTNESS_RUNS: Mapping[str, Settings] = {
    "below .25 to .40": {"brightness.low_luma": 0.25, "brightness.target_luma": 0.40},
    "below .35 to .50": {"brightness.low_luma": 0.35, "brightness.target_luma": 0.50},
    "below .35 to .50, gamma of at least .4": {
        "brightness.low_luma": 0.35,
        "brightness.target_luma": 0.50,
        "brightness.min_gamma": 0.4,
    },
    "below .45 to .55": {"brightness.low_luma": 0.45, "brightness.target_luma": 0.55},
    "none": _NO_CORRECTION,
}


_SMALL_HEAD: Settings = {"recipe.head_start": "small"}
_LEARNING_NORM: Settings = {"recipe.freeze_bn": "off"}
_PLACES_RUNS: Mapping[str, Settings] = {
    "default": {},
    "small head, learning batch norm": {**_SMALL_HEAD, **_LEARNING_NORM},
    "stronger augmentation": {"augment.min_scale": 0.2, "augment.erase": 0.4, "recipe.cutmix": 1.0},
    "blend": {"recipe.blend": 0.25},
    "pull": {"recipe.pull": 0.1},
    "keep": {"recipe.keep": 0.5},
    "paste": {"augment.paste": 0.5},
    "keep, paste": {"recipe.keep": 0.5, "augment.paste": 0.5},
    "keep, paste, blend": {"recipe.keep": 0.5, "augment.paste": 0.5, "recipe.blend": 0.3},
}


def _places(choice: Choice) -> Mapping[str, Settings]:
    rendered = {"rendered pictures": {"extra": [choice.rendered]}} if choice.rendered else {}
    return {**_PLACES_RUNS, **rendered}


def _final_conditions() -> tuple[Condition, ...]:
    """For figures to publish: the test photos as well, where there are some."""
    return Condition(), Condition("test", part="test")


_TRAIN_SIZES, _TEST_SIZES = (128, 192), (128, 160, 192, 240)
_ORIGINAL_RATES = (5.5e-5, 9e-5, 15e-5)

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (
            Study("models", "Which network is best on which data set?", _models, conditions=_final_conditions),
            Study(
                "original",
                "What does this recipe make of a network that the original one does not, from the same weights?",
                _original,
                conditions=_final_conditions,
            ),
            Study(
                "freeze",
                "What do accuracy and time become when the first 0, 6, 7 or 9 of ResNet50's ten blocks are frozen?",
                _fixed({f"first {number} of 10 frozen": {"recipe.freeze": number} for number in (0, 6, 7, 9)}),
                config="original_resnet50",
            ),
            Study(
                "rate",
                "Are 9e-5 and 15e-5 unstable beside 5.5e-5, and does a warm-up mend it?",
                _fixed(
                    {
                        f"{rate:.2g}{', warm-up' if warmup else ''}": {
                            "recipe.head_rate": rate,
                            "recipe.backbone_rate": rate,
                            "recipe.warmup": warmup,
                        }
                        for rate in _ORIGINAL_RATES
                        for warmup in (0.0, 0.1)
                    }
                ),
                config="original_resnet50",
            ),
            Study(
                "dark",
                "Can a model that has seen photos in one light be used in another: by lighting augmentation, by "
                "brightness correction, or by both?",
                _fixed(DARK_RUNS),
                conditions=dark_conditions,
            ),
            Study(
                "brightness",
                "Which settings of the brightness correction should a bundle carry?",
                _fixed(_BRIGHTNESS_RUNS),
                conditions=light_conditions,
            ),
            Study(
                "places",
                "What keeps a model good in places that its photos do not show?",
                _places,
            ),
            Study(
                "loss",
                "Why is the training loss above the validation loss?",
                _fixed(
                    {
                        "default": {},
                        "no augmentation": {"augment.enabled": False},
                        "no dropout, no smoothing": {
                            "recipe.dropout": 0.0,
                            "recipe.drop_path": 0.0,
                            "recipe.label_smoothing": 0.0,
                        },
                        "none of them": {
                            "augment.enabled": False,
                            "recipe.dropout": 0.0,
                            "recipe.drop_path": 0.0,
                            "recipe.label_smoothing": 0.0,
                        },
                        "grouped split": {"split": "grouped"},
                    }
                ),
            ),
            Study(
                "size",
                "At which size should a network be tested that was trained at another?",
                _fixed({f"trained at {size} px": {"train_size": size} for size in _TRAIN_SIZES}),
                conditions=lambda: tuple(Condition(f"{TESTED}{size} px", size=size) for size in _TEST_SIZES),
            ),
            Study(
                "distillation",
                "What do the answers of larger runs (--teacher RUN) add to the labels?",
                _with_teachers,
            ),
            Study(
                "recipe",
                "What is each part of the recipe worth?",
                _fixed(
                    {
                        "default": {},
                        "one rate for all stages": {"recipe.stage_decay": 1.0},
                        "no warm-up": {"recipe.warmup": 0.0},
                        "constant rate": {"recipe.schedule": "constant"},
                        "no moving average": {"recipe.ema_decay": 0.0},
                        "no label smoothing": {"recipe.label_smoothing": 0.0},
                        "no TrivialAugment": {"augment.colour": "none"},
                        "no lighting": {"augment.light": 0.0},
                        "no erasing": {"augment.erase": 0.0},
                        "mixup .2": {"recipe.mixup": 0.2},
                        "cutmix 1": {"recipe.cutmix": 1.0},
                        "classes as they come": {"recipe.balance": 0.0},
                        "classes evenly": {"recipe.balance": 1.0},
                        "learning batch norm": _LEARNING_NORM,
                        "small head": _SMALL_HEAD,
                        "no clipping": {"recipe.clip_norm": 0.0},
                        "best epoch, stopped early": {"recipe.deliver": "best", "recipe.patience": 2},
                    }
                ),
            ),
        )
    }
)
"""All studies by name."""
