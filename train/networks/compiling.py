"""torch.compile where it works, and a clear word where it does not: it needs a compiler that many machines lack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.console import say
from train.machine_config import Machine


def compiled(model: nn.Module, machine: Machine, device: torch.device) -> nn.Module:
    """The network as the machine's settings say: compiled, or as it is; the weights are the same objects.

    Where compiling fails the run goes on without, and says why.
    """
    if not machine.compile:
        return model
    if problem := compile_problem(device):
        say(f"  note: torch.compile does not work here, the network runs as it is ({problem})")
        return model
    return torch.compile(model)  # type: ignore[return-value]  # a module for a module


def compile_problem(device: torch.device) -> str:
    """Why nothing can be compiled for this device, or an empty text; it compiles two operations to find out."""

    def probe(values: Tensor) -> Tensor:
        return torch.relu(values * 2 + 1)

    try:
        torch.compile(probe)(torch.zeros(8, device=device))
    except Exception as error:  # noqa: BLE001  # compilers fail in many ways, and none of them may end a run
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return ""
