"""The studies: a question, the runs that answer it, and what each run is measured on.

A run is stated as the settings in which it differs from the command line's: dotted keys of `TrainConfig`.
`train/study.py` trains, measures and writes.
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
from train.lighting import Light
from train.study_measure import Condition

Settings: TypeAlias = Mapping[str, object]
"""Dotted keys of `TrainConfig` and their values."""

EXPOSURES = (2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
NOISY_EXPOSURES = (1.0, 0.25, 0.0625)
NOISE = 3.0
WARM_LIGHT = (0.7, 1.0, 1.3)  # blue, green, red: a bulb beside daylight


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says of a study besides training settings."""

    models: tuple[str, ...]
    data_sets: tuple[str, ...]
    measure: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A question and how it is answered."""

    name: str
    question: str
    runs: Callable[[Choice], Mapping[str, Settings]]
    """Name of each run to its settings."""
    base: Settings = field(default_factory=lambda: MappingProxyType({}))
    """Settings of all runs, below those of the command line."""
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
        f"{model.replace('timm:', '')} on {name}": {"model": model, "data": [data]}
        for name, data in zip(names, choice.data_sets, strict=True)
        for model in choice.models
    }


_NO_CORRECTION: Settings = {"brightness.enabled": False}
_DARK_PHOTOS: Settings = {"augment.light": 1.0, "augment.darkest": 1 / 16, "augment.brightest": 1 / 4}

DARK_RUNS: Mapping[str, Settings] = {
    "neither": {"augment.light": 0.0, **_NO_CORRECTION},
    "correction": {"augment.light": 0.0},
    "augmentation": _NO_CORRECTION,
    "both": {},
    "dark photos, neither": {**_DARK_PHOTOS, **_NO_CORRECTION},
    "dark photos, correction": _DARK_PHOTOS,
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
    "below .35 to .50": {},
    "below .25 to .40": {"brightness.low_luma": 0.25, "brightness.target_luma": 0.40},
    "below .45 to .55": {"brightness.low_luma": 0.45, "brightness.target_luma": 0.55},
    "gamma of at least .4": {"brightness.min_gamma": 0.4},
}


_PROBE: Settings = {"recipe.head_start": "probe", "recipe.head_rate": 5e-4}
_PLACES_RUNS: Mapping[str, Settings] = {
    "plain": {},
    "probe head": _PROBE,
    "probe head, pull": {**_PROBE, "recipe.pull": 0.1},
    "probe head, keep": {**_PROBE, "recipe.keep": 0.5},
    "probe head, paste": {**_PROBE, "augment.paste": 0.5},
    "probe head, keep, paste": {**_PROBE, "recipe.keep": 0.5, "augment.paste": 0.5},
    "probe head, keep, paste, blend": {**_PROBE, "recipe.keep": 0.5, "augment.paste": 0.5, "recipe.blend": 0.3},
}

_ORIGINAL_RATES = (5.5e-5, 9e-5, 15e-5)

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (
            Study("models", "Which network is best on which data set?", _models),
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
                _fixed(_PLACES_RUNS),
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
                        "frozen batch norm": {"recipe.freeze_bn": True},
                        "no clipping": {"recipe.clip_norm": 0.0},
                    }
                ),
            ),
        )
    }
)
"""All studies by name."""
