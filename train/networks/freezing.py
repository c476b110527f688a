"""Which parts of a network are not trained, and which keep their batch-norm statistics.

`--freeze N` counts the network's top-level children in order, as torch lists them: ResNet50's ten are conv1, bn1, relu,
maxpool, layer1 to layer4, avgpool and fc. `--freeze-until STAGE` names the first stage that is trained instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from smartbin.errors import ConfigError
from train.networks.auxiliary import rest_auxiliary_heads
from train.networks.network import Architecture, Stage
from train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Frozen:
    """What was frozen."""

    entries: frozenset[str]
    """State-dict entries of the front that is not trained, children without weights included by their names."""
    resting: tuple[str, ...]
    """Paths of modules that stay in evaluation mode while the rest trains: their batch norms keep their statistics."""

    def rest(self, model: nn.Module) -> None:
        """Put them in evaluation mode, in the network or in a copy of it; call it after `train()`."""
        for path in self.resting:
            model.get_submodule(path).eval()


def freeze(model: nn.Module, architecture: Architecture, recipe: Recipe, loaded: frozenset[str]) -> Frozen:
    """Freeze what `recipe` says, in place; `loaded` are the entries that started from loaded weights.

    An auxiliary head whose loss has no weight rests. Raises `ConfigError` if nothing would be left to train.
    """
    front = Stage("front", _front(model, architecture, recipe))
    for name, parameter in model.named_parameters():
        if front.holds(name):
            parameter.requires_grad_(False)
    if not recipe.auxiliary:
        rest_auxiliary_heads(model)
    resting: list[str] = []
    if recipe.frozen_statistics:
        modules = dict(model.named_modules())
        resting = [prefix for prefix in front.prefixes if prefix in modules]  # else a lone parameter
    if recipe.freeze_bn == "on":
        resting += _freeze_batch_norms(model, loaded)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "nothing is left to train",
            where="recipe.freeze" if recipe.freeze else "recipe.freeze_until",
            found=recipe.freeze or recipe.freeze_until,
            expected=_children_line(model),
        )
    return Frozen(frozenset(name for name in model.state_dict() if front.holds(name)), tuple(resting))


def _front(model: nn.Module, architecture: Architecture, recipe: Recipe) -> tuple[str, ...]:
    """Paths of the modules (or lone parameters) in front of what is trained."""
    if recipe.freeze_until:
        border = architecture.stage_names.index(recipe.freeze_until)
        return tuple(prefix for stage in architecture.stages[:border] for prefix in stage.prefixes)
    children = [name for name, _ in model.named_children()]
    if recipe.freeze >= len(children):
        raise ConfigError(
            f"{architecture.name} has not so many children to freeze",
            where="recipe.freeze",
            found=recipe.freeze,
            expected=_children_line(model),
        )
    return tuple(children[: recipe.freeze])


def _freeze_batch_norms(model: nn.Module, loaded: frozenset[str]) -> list[str]:
    """Freeze the batch norms that were loaded, scale and shift included; those that start random have to learn."""
    found: list[str] = []
    for path, module in model.named_modules():
        names = [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
        if isinstance(module, _BatchNorm) and names and loaded.issuperset(names):
            module.requires_grad_(False)
            found.append(path)
    return found


def _children_line(model: nn.Module) -> str:
    names = [name for name, _ in model.named_children()]
    return f"less than its {len(names)} children: {', '.join(names)}"
