"""How this machine is used: the table `machine` of a training run's configuration. Each field is a flag."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from train.section import Section


class Machine(Section):
    """How this machine is used; changes nothing in the result, except in the last digits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; auto takes CUDA when there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on CUDA and on CPUs with bf16 instructions, else fp32. Weights are always kept in float32."""
    workers: int = Field(default=-1, ge=-1)
    """Processes that load photos; -1: 4, or the number of CPUs if smaller; 0: none, load in the training process."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of the network; 0: torch's choice."""
    cache: Literal["auto", "ram", "none"] = "auto"
    """ram: every photo is decoded once and kept; auto: if that takes at most a quarter of the memory."""
