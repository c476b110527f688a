"""Any network of timm as an architecture: `--model timm:NAME`, with a tag of weights if wished: `timm:NAME.TAG`.

Sizes, mean and standard deviation are what timm says of the network. Stages are timm's own groups of layers, the same
that its layer-wise rate decay uses, with the classifier taken out as the last one. `train/networks/architectures.py`
calls this when such a name is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import group_parameters
from torch import Tensor, nn

from smartbin.errors import ConfigError
from train.networks.network import Architecture, Stage

TIMM_PREFIX = "timm:"
_SMALL_SIZES = (32, 64, 96, 128)
_SHOWN = 6


def build_timm(name: str) -> Callable[[int, float, float], nn.Module]:
    """A builder for `Architecture.build`; dropout and stochastic depth are left out where a network has none."""

    def build(classes: int, dropout: float, drop_path: float) -> nn.Module:
        rates = {"drop_rate": dropout, "drop_path_rate": drop_path}
        while True:
            try:
                model: nn.Module = timm.create_model(
                    name,
                    pretrained=False,
                    num_classes=classes,
                    **rates,  # type: ignore[arg-type]  # floats for the network's own arguments
                )
            except TypeError as error:
                unknown = [rate for rate in rates if f"'{rate}'" in str(error)]
                if not unknown:
                    raise
                rates = {rate: value for rate, value in rates.items() if rate not in unknown}
            else:
                return model

    return build


def download_timm(name: str) -> Callable[[], dict[str, Tensor]]:
    """A function for `Architecture.download`."""
    return lambda: dict(timm.create_model(name, pretrained=True).state_dict())


@lru_cache(maxsize=16)
def timm_architecture(full_name: str) -> Architecture:
    """The architecture `timm:NAME`; `ConfigError` with near matches if timm has no such network or no such tag."""
    name = full_name.removeprefix(TIMM_PREFIX)
    _check_name(name)
    with torch.device("meta"):  # names and shapes only: no memory, no time
        model = build_timm(name)(2, 0.0, 0.0)
    facts, tested = _facts(model), _facts(model, use_test_size=True)
    train_size, test_size = _side(facts["input_size"]), _side(tested["input_size"])
    card = _card(model)
    fixed = bool(card.get("fixed_input_size"))
    least = next((size for size in _SMALL_SIZES if size < train_size and _takes(model, size)), train_size)
    return Architecture(
        name=full_name,
        train_size=train_size,
        test_size=train_size if fixed else test_size,
        mean=_triple(facts["mean"]),
        std=_triple(facts["std"]),
        stages=_stages(model),
        build=build_timm(name),
        download=download_timm(name),
        min_train_size=train_size if fixed else least,
        min_test_size=train_size if fixed else least,
        fixed_size=fixed,
    )


def _takes(model: nn.Module, size: int) -> bool:
    """Whether images of this size are large enough; `model` is on the meta device, so that nothing is computed."""
    try:
        model(torch.zeros(2, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, NotImplementedError):  # too few pixels to halve, or an operation without meta
        return False
    return True


def _check_name(name: str) -> None:
    if not timm.is_model(name):
        known = timm.list_models()
        near = [*timm.list_models(f"*{name}*"), *get_close_matches(name.split(".")[0], known, n=_SHOWN, cutoff=0.5)]
        raise ConfigError(
            "timm has no such network",
            where="model",
            found=f"{TIMM_PREFIX}{name}",
            expected=", ".join(f"{TIMM_PREFIX}{other}" for other in list(dict.fromkeys(near))[:_SHOWN])
            or f"the {len(known)} names that timm.list_models() gives",
        )
    bare, _, tag = name.partition(".")
    tags = [other.partition(".")[2] for other in timm.list_pretrained(f"{bare}.*")]
    if tag and tag not in tags:
        raise ConfigError(
            f"timm has no such weights of {bare}",
            where="model",
            found=f"{TIMM_PREFIX}{name}",
            expected=", ".join(f"{TIMM_PREFIX}{bare}.{other}" for other in tags) or f"{TIMM_PREFIX}{bare}",
        )


def _stages(model: nn.Module) -> tuple[Stage, ...]:
    """Every entry of the state dict in a stage, front to back; the classifier is the last one, `head`."""
    matcher = model.group_matcher(coarse=True)  # type: ignore[operator]  # a method of timm's networks
    groups = group_parameters(model, matcher)
    places = {name: place for place, names in groups.items() for name in names}
    head = _classifier(model)
    last = max(places.values(), default=0) + 1
    entries = list(model.state_dict())
    stage_of = {name: last if head.holds(name) else _place(name, places) for name in entries}
    stages = [
        Stage("", _cover([name for name in entries if stage_of[name] == place], stage_of))
        for place in sorted(set(stage_of.values()) - {last})
    ]
    named = [Stage(_name(stage.prefixes, number), stage.prefixes) for number, stage in enumerate(stages)]
    return (*named, head)


def _classifier(model: nn.Module) -> Stage:
    found = _card(model).get("classifier") or "head"
    return Stage("head", tuple(str(name) for name in found) if isinstance(found, (tuple, list)) else (str(found),))


def _place(name: str, places: Mapping[str, int]) -> int:
    """The group of a parameter, or for a buffer that of the parameter nearest to it."""
    path = name
    while path not in places and path:
        path = path.rpartition(".")[0]
        for parameter, place in places.items():
            if path and parameter.startswith(f"{path}."):
                return place
    return places.get(path, min(places.values(), default=0))


def _cover(names: Sequence[str], stage_of: Mapping[str, int]) -> tuple[str, ...]:
    """The fewest module paths (or entries) that hold exactly these entries."""
    place = stage_of[names[0]]
    others = [name for name, other in stage_of.items() if other != place]
    prefixes: list[str] = []
    for name in names:
        if not any(Stage("", (prefix,)).holds(name) for prefix in prefixes):
            prefixes.append(next(path for path in _paths(name) if not _holds_any(path, others)))
    return tuple(prefixes)


def _paths(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _holds_any(path: str, names: Iterable[str]) -> bool:
    stage = Stage("", (path,))
    return any(stage.holds(name) for name in names)


def _name(prefixes: tuple[str, ...], number: int) -> str:
    """A name for `--freeze-until`: that of the stage's first module, and `stem` in front."""
    return "stem" if number == 0 else prefixes[0]


def _card(model: nn.Module) -> Mapping[str, object]:
    """What timm notes about a network and its weights."""
    card = getattr(model, "pretrained_cfg", {})
    assert isinstance(card, dict)
    return card


def _facts(model: nn.Module, *, use_test_size: bool = False) -> Mapping[str, object]:
    """How its photos are prepared: `input_size`, `mean`, `std`."""
    found = resolve_model_data_config(model, use_test_size=use_test_size)  # type: ignore[no-untyped-call]
    assert isinstance(found, dict)
    return found


def _side(size: object) -> int:
    """Of (channels, height, width) the width."""
    assert isinstance(size, tuple)
    return int(size[2])


def _triple(values: object) -> tuple[float, float, float]:
    assert isinstance(values, tuple)
    first, second, third = (float(value) for value in values)
    return first, second, third
