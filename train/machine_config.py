"""How this machine is used: the table `machine` of a training run's configuration. Each field is a flag."""

from __future__ import annotations

from pathlib import Path
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
    channels_last: bool = True
    """Keep the channels of a pixel together in memory, which most convolutions are faster with."""
    keep_memory: bool = True
    """On the CPU, keep the memory that a step frees for the next one, instead of returning it to the system. Faster
    with glibc; elsewhere nothing changes."""
    compile: bool = False
    """Compile the network with torch.compile for training: a minute at the start, faster steps. Needs a C++ compiler;
    without one the run says so and goes on."""
    cache: Literal["auto", "map", "none"] = "auto"
    """map: every photo is decoded once, into a file that all processes map; auto: if there is room for it on the disk;
    none: photos are decoded every time."""
    cache_dir: Path | None = None
    """Where decoded photos are kept; default $XDG_CACHE_HOME/smartbin or ~/.cache/smartbin. `train/run.py cache` lists
    and clears it."""
    cache_gb: float = Field(default=50.0, gt=0)
    """Most that the cache may hold, GB; what was not used for longest makes room."""
    verify_cache: bool = False
    """Read every photo and every cached pixel again instead of trusting sizes, times and the check on first use."""
    augment_on: Literal["auto", "cpu", "device"] = "auto"
    """device: the training photos are copied to the network's device and augmented there, each as its seed says; cpu:
    loader processes do it; auto: device if that is a GPU with room enough. The noise itself differs between the two."""
