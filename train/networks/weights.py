"""Starting weights: a file, a download, or none; what was loaded, what is missing, what was left over.

Called once by the set-up of a run. A file is safetensors, or anything `torch.load(weights_only=True)` reads; float16
entries are cast to the network's float32.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from smartbin.errors import WeightsError
from train.console import first_few
from train.networks.hub_log import short_retries
from train.networks.network import DOWNLOADS, Architecture
from train.networks.origin import name_with_origin
from train.recipe import HeadStart

_UNCOUNTED = ("num_batches_tracked",)  # counters of batch norm; files leave them out at will
_HEAD_STD = 0.01
_MIN_LOADED = 0.3  # of the network's body: below it the file is taken for one of another network


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """What became of every entry, by its name in the network's state dict."""

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """In the network, not in the file: these start random."""
    left_over: tuple[str, ...]
    """In the file, not in the network, or a head for other classes."""
    head_loaded: bool
    whole: bool
    """Whether the network has all of its loaded weights, less perhaps those of the head."""

    def summary(self) -> str:
        """One line for the console and the report."""
        if not self.loaded:
            return "no starting weights: the whole network starts random"
        line = f"{self.source}: {len(self.loaded)} entries loaded, {len(self.missing)} missing (start random)"
        line += f" [{_sample(self.missing)}]" if self.missing else ""
        return line + (f", {len(self.left_over)} left over [{_sample(self.left_over)}]" if self.left_over else "")

    def warning(self, frozen: frozenset[str]) -> str:
        """For the same: whether any of the `frozen` entries start random, which they then remain; else empty."""
        random = tuple(name for name in self.missing if name in frozen)
        if not random:
            return ""
        return (
            f"{len(random)} frozen entries start random and are never trained [{_sample(random)}]: freeze less, or "
            "give --weights that have them"
        )


def load_weights(
    model: nn.Module, architecture: Architecture, source: str, *, head_start: HeadStart = "small"
) -> LoadedWeights:
    """Put starting weights into `model`: `none`, `imagenet` or `imagenet_v1` (downloads), or the path of a file.

    A new head starts with small weights, or with torch's own for a linear layer; a probe is fitted later.

    The head is loaded only if its shape fits (a run of ours with as many classes). Raises `WeightsError` when the file
    is missing or damaged, when a shape does not fit, or when hardly any entry is one of this network.
    """
    wanted = {name: value for name, value in model.state_dict().items() if not name.endswith(_UNCOUNTED)}
    _restart_head(model, architecture, head_start)
    if source == "none":
        return LoadedWeights("none", (), tuple(wanted), (), head_loaded=False, whole=False)
    given = starting_entries(architecture, source)
    head_fits = all(given[name].shape == wanted[name].shape for name in given if _is_head(name, wanted, architecture))
    usable = {
        name: value for name, value in given.items() if name in wanted and (head_fits or not architecture.is_head(name))
    }
    _check_shapes(usable, wanted, source)
    _check_enough(usable, wanted, architecture, source)
    with torch.no_grad():
        for name, value in usable.items():
            wanted[name].copy_(value)  # casts float16 to float32
    missing = tuple(name for name in wanted if name not in usable)
    return LoadedWeights(
        source=source if source in DOWNLOADS else name_with_origin(Path(source)),
        loaded=tuple(usable),
        missing=missing,
        left_over=tuple(name for name in given if name not in usable),
        head_loaded=any(architecture.is_head(name) for name in usable),
        whole=all(architecture.is_head(name) for name in missing),
    )


def starting_entries(architecture: Architecture, source: str) -> dict[str, Tensor]:
    """Everything in a download or a file of weights, less counters; `WeightsError` if it cannot be had."""
    given = _download(architecture, source) if source in DOWNLOADS else _read(Path(source))
    return {name: value for name, value in given.items() if not name.endswith(_UNCOUNTED)}


def _restart_head(model: nn.Module, architecture: Architecture, start: HeadStart) -> None:
    """Small random weights: timm's own for six classes (up to .41) begin with a loss of 10 instead of 1.8."""
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or not architecture.is_head(name):
            continue
        if start == "linear":
            module.reset_parameters()
        else:
            nn.init.normal_(module.weight, std=_HEAD_STD)
            nn.init.zeros_(module.bias)


def _is_head(name: str, wanted: Mapping[str, Tensor], architecture: Architecture) -> bool:
    return name in wanted and architecture.is_head(name)


def _check_shapes(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> None:
    misfits = [
        f"{name} {list(value.shape)} instead of {list(wanted[name].shape)}"
        for name, value in given.items()
        if value.shape != wanted[name].shape
    ]
    if misfits:
        raise WeightsError(
            "the starting weights have other shapes than the network",
            where=source,
            found=first_few(misfits, 3),
            fix="give the --model that these weights were made for",
        )


def _check_enough(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], architecture: Architecture, source: str
) -> None:
    body = [name for name in wanted if not architecture.is_head(name)]
    loaded = sum(name in given for name in body)
    if loaded < _MIN_LOADED * len(body):
        raise WeightsError(
            f"these are not weights of {architecture.name}",
            where=source,
            found=f"{loaded} of the network's {len(body)} entries outside the head",
            expected=f"names such as {body[0]}, {body[-1]}",
            fix="give the --model that these weights were made for, or --weights none",
        )


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(
            "no such file of starting weights",
            where=path,
            expected=f"{', '.join(DOWNLOADS)}, none, or a file (.safetensors, .pt, .pth)",
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "the starting weights are refused: damaged, or more than plain tensors",
            where=path,
            fix="convert them to safetensors",
        ) from error
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        found = str(error).split("\n")[0]
        raise WeightsError("the starting weights cannot be read", where=path, found=found) from error
    return _tensors(content, path)


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict inside what a checkpoint file held."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {}
    if isinstance(content, Mapping):
        entries = {str(name).removeprefix("module."): value for name, value in content.items()}
        tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError("the file holds no weights", where=path, expected="a state dict: names and tensors")
    return tensors


def _download(architecture: Architecture, source: str) -> dict[str, Tensor]:
    fetch = architecture.download if source == "imagenet" else architecture.download_v1
    if fetch is None:
        raise WeightsError(
            f"{architecture.name} has only one set of ImageNet weights", found=source, fix="--weights imagenet"
        )
    try:
        with short_retries():
            return fetch()
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"the ImageNet weights of {architecture.name} cannot be downloaded",
            found=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            fix="check the network, or give a file: --weights FILE (to see photos of one object: --group-weights FILE)",
        ) from error


def _sample(names: tuple[str, ...], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
