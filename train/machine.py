"""What a run computes on: device, precision, threads, loader processes."""

from __future__ import annotations

import logging
import os
import platform
from pathlib import Path
from typing import Literal

import cv2
import torch
from lightning_fabric import Fabric

from smartbin.errors import ConfigError
from smartbin.wording import counted
from train.allocator import keep_freed_memory
from train.console import be_quiet
from train.machine_config import Machine
from train.ranks import rank, ranks, ranks_here, step_seed

_MOST_WORKERS = 4


def open_fabric(machine: Machine) -> Fabric:
    """Fabric with the precision asked for, on one device or, started by torchrun, on one for each rank.

    All ranks but the first are silent from here on. `ConfigError` if CUDA is asked for and absent.
    """
    if machine.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device", where="machine.device", found="cpu only", fix="--device cpu")
    if machine.threads:
        torch.set_num_threads(machine.threads)
    # Photos are small, and the loader's processes are parallel already. Above all: OpenCV's thread pool must be gone
    # before they are forked, or they wait for threads that only their parent has.
    cv2.setNumThreads(1)
    device = "cuda" if machine.device != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    elif machine.keep_memory:
        keep_freed_memory()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision; we do, too
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if uses_bf16(machine, device) else "32-true"
    if ranks() == 1:
        return Fabric(accelerator=device, devices=1, precision=precision)
    if rank():
        be_quiet()
    nodes = ranks() // ranks_here()
    fabric = Fabric(accelerator=device, devices=ranks_here(), num_nodes=nodes, strategy="ddp", precision=precision)
    fabric.launch()
    return fabric


def uses_bf16(machine: Machine, device: str) -> bool:
    """Whether matrix products run in bfloat16; on a CPU without such instructions that would only be slower."""
    if machine.precision != "auto":
        return machine.precision == "bf16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private, so their absence is no error
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in features)


def worker_count(machine: Machine) -> int:
    """Loader processes of this rank: as configured, else 4 or, if smaller, its part of the CPUs it may use."""
    if machine.workers >= 0:
        return machine.workers
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, max(1, usable // ranks_here()))


def seed_step(device: torch.device, *numbers: int) -> None:
    """Seed the generators that dropout, stochastic depth and mixing draw from, by what identifies a step.

    What a step draws then follows from these numbers and the rank, so that a resumed run draws the same.
    """
    seed = step_seed(*numbers)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)  # on the host: the device is not waited for


def precision_of(fabric: Fabric) -> str:
    """Name of the precision that Fabric runs at, such as `bf16-mixed`."""
    return str(fabric._precision.precision)  # there is no public name for it


def describe_device(device: torch.device) -> str:
    """For the report: the GPU's name, or the CPU's and the threads used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {counted(torch.get_num_threads(), 'thread')}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
