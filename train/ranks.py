"""Several processes that train one network together, as `torchrun` starts them: who has what, and what all agree on.

A process is a rank. Every function here does nothing, at no cost, where there is only one. What is agreed on goes over
the CPU (gloo), so that no GPU is waited for.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

from smartbin.errors import ConfigError

Item = TypeVar("Item")


def rank() -> int:
    """Number of this process; 0 is the one that prints and writes."""
    return _from_torchrun("RANK", 0)


def ranks() -> int:
    """Number of processes on all machines."""
    return _from_torchrun("WORLD_SIZE", 1)


def ranks_here() -> int:
    """Number of processes on this machine."""
    return _from_torchrun("LOCAL_WORLD_SIZE", 1)


def _from_torchrun(name: str, alone: int) -> int:
    """A number that torchrun hands over; other launchers set some of these names, too, and mean other things."""
    return int(os.environ.get(name, alone)) if "TORCHELASTIC_RUN_ID" in os.environ else alone


def share_of(items: Sequence[Item]) -> Sequence[Item]:
    """What this rank has of a batch: neighbours, as evenly as it goes."""
    cuts = np.linspace(0, len(items), ranks() + 1).round().astype(int)
    return items[cuts[rank()] : cuts[rank() + 1]]


def weight_of_share(part: int, whole: int) -> float:
    """Factor on the mean loss of a share, so that the mean over the ranks is that over the whole batch."""
    return part * ranks() / whole


def check_batch(size: int) -> None:
    """`ConfigError` if some rank would have no photo in a batch of `size`."""
    if size < ranks():
        raise ConfigError(
            "fewer photos in a batch than processes",
            where="recipe.batch",
            found=f"{size} photos, {ranks()} processes",
            fix="a larger --batch, or torchrun with fewer --nproc-per-node",
        )


def step_seed(*numbers: int) -> int:
    """Seed of whatever the network draws in a step of this rank: it follows from the numbers alone."""
    return int(np.random.SeedSequence([*numbers, rank()]).generate_state(1, np.uint64)[0] >> 1)


def any_rank(number: int | None) -> int | None:
    """The highest number that a rank has, or None if none has one; all ranks must ask at the same time."""
    if ranks() == 1:
        return number
    highest = torch.tensor([-1 if number is None else number])
    distributed.all_reduce(highest, distributed.ReduceOp.MAX, group=_cpu_group())
    return None if highest.item() < 0 else int(highest.item())


def mean_over_ranks(values: Sequence[float]) -> list[float]:
    """The mean of each number over the ranks; all must ask at the same time."""
    if ranks() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(total, group=_cpu_group())
    return [value / ranks() for value in total.tolist()]


def gathered(part: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The whole of `count` rows, of which this rank has every `ranks()`th from its own number on, in order."""
    if ranks() == 1:
        return part
    parts: list[NDArray[np.float32]] = [part] * ranks()
    distributed.all_gather_object(parts, part, group=_cpu_group())
    whole = np.empty((count, *max(rows.shape for rows in parts)[1:]), part.dtype)
    for number, rows in enumerate(parts):
        if len(rows):  # a rank without any may not know how long a row is
            whole[number :: ranks()] = rows
    return whole


def same_buffers(*modules: nn.Module) -> None:
    """Give every rank the first one's buffers: statistics of batch norms, which on CPUs each rank has its own of."""
    if ranks() == 1:
        return
    for module in modules:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)


def wait_for_all() -> None:
    """Go on when every rank has come here."""
    any_rank(0)


def end_ranks() -> None:
    """Leave the group and end its threads; at the end of a run that went well.

    The wrapped network lies in a reference cycle and holds the group, whose threads then live on until the interpreter
    ends. One that lets go of a tensor at that moment aborts the process, and torchrun the run.
    """
    if distributed.is_available() and distributed.is_initialized():
        _cpu_group.cache_clear()
        distributed.destroy_process_group()
        gc.collect()


@lru_cache(maxsize=1)
def _cpu_group() -> distributed.ProcessGroup | None:
    """The group for what is agreed on; None is the usual one, which is gloo where the network runs on CPUs."""
    if distributed.get_backend() == "gloo":
        return None
    return distributed.new_group(backend="gloo")  # type: ignore[return-value]  # every rank is a member of it
