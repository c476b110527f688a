"""Cutting a network in two: the frozen front, whose answers to a photo never change, and the back that is trained.

The back is the same network with its front modules replaced by ones that do nothing, so that it takes what the front
would have handed on; its parameters are the very objects of the whole network. Whether that is the same computation is
tried out on a batch: not every network hands on one tensor, and some compute between their modules.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from train.networks.freezing import Frozen
from train.networks.network import split_outputs

_TOLERANCE = 1e-3  # of the largest logit; GPUs round products to TF32


class NoFrontError(Exception):
    """The network cannot be cut; the message says why."""


class _Reached(Exception):  # noqa: N818  # a way out of the forward pass, not an error
    def __init__(self, activation: Tensor) -> None:
        super().__init__()
        self.activation = activation


@dataclass(frozen=True, slots=True)
class Front:
    """The modules of a network that are computed once: their paths, in the order in which they run."""

    modules: tuple[str, ...]

    def run(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """What the front of `model` makes of normalised inputs [N, 3, S, S]; the rest is not computed."""

        def leave(_: nn.Module, __: object, output: Tensor) -> None:
            raise _Reached(output)

        handle = model.get_submodule(self.modules[-1]).register_forward_hook(leave)
        try:
            model(inputs)
        except _Reached as reached:
            return reached.activation
        finally:
            handle.remove()
        raise NoFrontError(f"{self.modules[-1]} does not run in evaluation mode")

    def back_of(self, model: nn.Module) -> nn.Module:
        """The rest of `model`, which takes what `run` gives; all that is not in the front is shared with it."""
        return _without(model, frozenset(self.modules), "")


def find_front(model: nn.Module, frozen: Frozen, probe: Tensor) -> Front:
    """The front of `model`, tried out on normalised inputs `probe` [N, 3, S, S]; the network stays as it is.

    It ends before the first module that is trained or that draws random numbers, or earlier where that is needed for
    the back to give the same in evaluation and in training mode. `NoFrontError` says why there is none.
    """
    trial = copy.deepcopy(model)
    kinds = dict(_units(trial, frozen, ""))
    trial.train()
    frozen.rest(trial)
    with torch.no_grad():
        with _noting(trial, kinds) as ran:
            trial(probe)
        paths = list(itertools.takewhile(lambda path: kinds[path] != "trained", ran))
        if len(set(ran)) < len(ran):
            raise NoFrontError("some of its parts run more than once")
        while any(kinds[path] == "frozen" for path in paths):
            front = Front(tuple(paths))
            if (kinds[paths[-1]] == "frozen" or _is_cheap_end(trial, paths[-1])) and _agrees(
                trial, front, frozen, probe
            ):
                return front
            paths.pop()
    if not any(kinds[path] == "frozen" for path in ran[:1]):
        raise NoFrontError("what runs first is not frozen")
    raise NoFrontError("it computes more between its frozen parts than these parts do")


def _agrees(trial: nn.Module, front: Front, frozen: Frozen, probe: Tensor) -> bool:
    """Whether front and back together give what the whole network gives, in evaluation and in training mode."""
    back = front.back_of(trial)
    for training in (False, True):
        trial.train(training)
        back.train(training)
        frozen.rest(trial)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            expected = split_outputs(trial(probe))
            torch.manual_seed(0)
            try:
                found = split_outputs(back(front.run(trial, probe)))
            except (
                RuntimeError,
                AttributeError,
                NoFrontError,
            ):  # a branch that left the front gets what it cannot take
                return False
        if not all(_equal(one, other) for one, other in zip(expected, found, strict=True)):
            return False
    return True


def _equal(expected: Tensor | None, found: Tensor | None) -> bool:
    if expected is None or found is None:
        return expected is found
    close = expected.shape == found.shape and (found - expected).abs().max() <= _TOLERANCE * expected.abs().max()
    return bool(close)


def _units(module: nn.Module, frozen: Frozen, prefix: str) -> Iterator[tuple[str, str]]:
    """Paths of the largest parts that are wholly frozen, wholly trained, or without weights, and which they are."""
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        entries = [f"{path}.{entry}" for entry in child.state_dict()]
        held = sum(entry in frozen.entries for entry in entries)
        if entries and 0 < held < len(entries):
            yield from _units(child, frozen, f"{path}.")
        elif not entries and _is_random(child):
            yield path, "trained"  # it has to run each time
        else:
            yield path, "frozen" if held else "trained" if entries else "free"


def _is_random(module: nn.Module) -> bool:
    return any(isinstance(part, (_DropoutNd, DropPath)) for part in module.modules())


def _is_cheap_end(model: nn.Module, path: str) -> bool:
    """Pooling makes what has to be kept smaller; other parts without weights are left to the back."""
    return "Pool" in type(model.get_submodule(path)).__name__


@contextmanager
def _noting(model: nn.Module, paths: dict[str, str]) -> Iterator[list[str]]:
    """While open, the paths of these modules are noted as they run."""
    ran: list[str] = []
    handles = [
        model.get_submodule(path).register_forward_pre_hook(lambda _, __, path=path: ran.append(path)) for path in paths
    ]
    try:
        yield ran
    finally:
        for handle in handles:
            handle.remove()


def _without(module: nn.Module, paths: frozenset[str], prefix: str) -> nn.Module:
    """A copy of a module with these parts replaced; it shares everything else, its parameters above all."""
    clone = copy.copy(module)
    clone._modules = dict(module._modules)
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if path in paths:
            clone._modules[name] = nn.Identity()
        elif any(other.startswith(f"{path}.") for other in paths):
            clone._modules[name] = _without(child, paths, f"{path}.")
    return clone
