"""The starting weights, kept: training is pulled towards them, and what is delivered may be partly them.

Two ways to keep what the loaded network knows of places that the photos do not show. `pull` is L2-SP (Li et al., arXiv
1802.01483), decoupled from the gradient like AdamW's decay. `blend` is WiSE-FT (Wortsman et al., arXiv 2109.01903): a
straight line between starting and trained weights; another run's weights may take the start's place (model soups,
Wortsman et al., arXiv 2203.05482).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from smartbin.errors import CheckpointError
from train.checkpoint import load_run
from train.networks.architectures import Architecture


@dataclass(frozen=True, slots=True)
class Anchor:
    """Entries of a state dict as they were before the first step, the head included if it was a probe."""

    entries: dict[str, Tensor]

    def pull(self, model: nn.Module, optimizer: torch.optim.Optimizer, strength: float) -> None:
        """One step of every trained parameter towards its start: by learning rate times `strength` of the way."""
        rates = {
            id(parameter): group["lr"] * strength for group in optimizer.param_groups for parameter in group["params"]
        }
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                rate = rates.get(id(parameter))
                if rate is not None and name in self.entries:
                    parameter.lerp_(self.entries[name], min(1.0, rate))

    def blend(self, model: nn.Module, part: float) -> None:
        """Replace the weights by `part` of the start and the rest of themselves; batch-norm statistics as well."""
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name in self.entries and value.is_floating_point():
                    value.lerp_(self.entries[name].to(value.device), part)


def anchor_of(model: nn.Module, architecture: Architecture, loaded: frozenset[str], *, with_head: bool) -> Anchor:
    """The anchor of a network as it is now: what was loaded, and its head if `with_head`."""
    return Anchor(
        {
            name: value.detach().clone()
            for name, value in model.state_dict().items()
            if value.is_floating_point() and (name in loaded or (with_head and architecture.is_head(name)))
        }
    )


def anchor_of_run(path: Path, architecture: Architecture, classes: tuple[str, ...]) -> Anchor:
    """The delivered weights of another run; `CheckpointError` if it has not the same network and classes."""
    run = load_run(path)
    found, wanted = (run.architecture, *run.classes), (architecture.name, *classes)
    if found != wanted:
        raise CheckpointError(
            "weights of these two runs cannot be blended",
            where=path,
            found=", ".join(found),
            expected=", ".join(wanted),
            fix="blend runs of the same network, trained on the same classes",
        )
    state = run.build_model().state_dict()
    return Anchor({name: value for name, value in state.items() if value.is_floating_point()})
