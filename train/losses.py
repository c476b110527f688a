"""The losses of an epoch, summed where they arise: reading one from a GPU would make the CPU wait for it."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from train.ranks import mean_over_ranks

_SHOWN_EVERY_S = 2.0


class Losses:
    """Sums over the batches of an epoch of the plain loss and of what is minimised, this rank's shares of them."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)
        self._before = (0.0, 0.0)
        self._note, self._shown_s = "", 0.0

    def add(self, plain: Tensor, objective: Tensor) -> None:
        """Add a batch's two losses, weighted so that the mean over the ranks is that of the batch."""
        self._sums += torch.stack([plain, objective])

    def sums(self) -> tuple[float, float]:
        """Both sums over all ranks, which must all ask. Waits for the device."""
        plain, objective = mean_over_ranks(self._sums.tolist())
        return self._before[0] + plain, self._before[1] + objective

    def restart(self, plain: float = 0.0, objective: float = 0.0) -> None:
        """Begin an epoch, or go on in one that had come to these sums."""
        self._sums.zero_()
        self._before = (plain, objective)
        self._note = ""

    def note(self, steps: int) -> str:
        """For the progress bar: this rank's mean loss; on a GPU an old one most of the time, since it would wait."""
        now_s = time.monotonic()
        if self._sums.device.type == "cpu" or now_s - self._shown_s >= _SHOWN_EVERY_S:
            self._shown_s = now_s
            self._note = f"loss {(self._before[0] + float(self._sums[0])) / steps:.3f}"
        return self._note
