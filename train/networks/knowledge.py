"""What the loaded network says of a training picture in its own classes, kept as a second task while it is trained.

Learning without forgetting (Li and Hoiem, arXiv 1606.09282): a frozen copy of the network with the 1,000 classes of its
weight file is the teacher. The trained network's features, through the frozen head of that file, must go on giving
the teacher's answers: it still tells a wine bottle from a water jug, which no training photo asks of it.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smartbin.errors import ConfigError
from train.networks.architectures import Architecture, split_outputs
from train.networks.probe import head_inputs, head_of
from train.networks.weights import starting_entries

_TEMPERATURE = 2.0


@dataclass(slots=True)
class Knowledge:
    """The frozen network and its head; neither is part of the run's state, both follow from the weight file."""

    teacher: nn.Module
    head: nn.Linear
    trained_head: nn.Linear

    def watching(self) -> AbstractContextManager[list[Tensor]]:
        """While open, the features of each forward pass of the trained network are appended to the list."""
        return head_inputs(self.trained_head)

    def answers(self, inputs: Tensor) -> Tensor:
        """The teacher's logits of normalised inputs [N, 3, S, S]: [N, K]."""
        with torch.no_grad():
            return split_outputs(self.teacher(inputs))[0].float()

    def loss(self, features: Tensor, answers: Tensor) -> Tensor:
        """Divergence of the answers that `features` [N, F] give from the teacher's, mean over the pictures."""
        logits = nn.functional.linear(features.float(), self.head.weight, self.head.bias)
        return _TEMPERATURE**2 * nn.functional.kl_div(
            (logits / _TEMPERATURE).log_softmax(dim=1),
            (answers / _TEMPERATURE).log_softmax(dim=1),
            reduction="batchmean",
            log_target=True,
        )


def knowledge_of(model: nn.Module, architecture: Architecture, source: str) -> Knowledge:
    """Build the teacher from `model`, whose loaded weights are still as they were, and the head of the weight file.

    `ConfigError` if there is no complete head in it.
    """
    trained_head = head_of(model, architecture)
    name = architecture.stages[-1].prefixes[0]
    given = {} if source == "none" else starting_entries(architecture, source)
    weight, bias = given.get(f"{name}.weight"), given.get(f"{name}.bias")
    if weight is None or bias is None or weight.shape[1:] != trained_head.weight.shape[1:]:
        raise ConfigError(
            "the starting weights have no head whose knowledge could be kept",
            where="recipe.keep",
            found=source,
            expected=f"{name}.weight and {name}.bias of the classes that it was trained on",
            fix="a weight file with its own head, or --keep 0",
        )
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    head.to(trained_head.weight.device).requires_grad_(False)
    teacher = copy.deepcopy(model)
    parent, _, child = name.rpartition(".")
    setattr(teacher.get_submodule(parent), child, head)
    teacher.eval().requires_grad_(False)
    return Knowledge(teacher, head, trained_head)
