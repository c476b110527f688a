"""Validation photos on a GPU: preprocessed once, then kept there, so that scoring an epoch waits for no CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from train.loader import Batch, SampleKey, Samples, load_batches

_GPU_BYTES = 1 << 30


class KeptBatches:
    """Batches of the same samples, again and again, kept if all of them take at most `most_bytes`."""

    def __init__(self, device: torch.device, most_bytes: int) -> None:
        self.device, self.most_bytes = device, most_bytes
        self._kept: list[Batch] = []

    def load(self, samples: Samples, batches: list[list[SampleKey]], workers: int) -> Iterator[Batch]:
        """The batches, which must be the same at every call; from the second one on those that were kept."""
        if self._kept:
            yield from self._kept
            return
        keep: list[Batch] = []
        for batch in load_batches(samples, batches, workers):
            images = batch.images.to(self.device, non_blocking=True)
            moved = Batch(images, batch.labels.to(self.device, non_blocking=True))
            if images.nbytes * len(batches) <= self.most_bytes:
                keep.append(moved)
            yield moved
        self._kept = keep if len(keep) == len(batches) else []


def kept_on(device: torch.device) -> KeptBatches:
    """On a GPU a gigabyte is kept. On a CPU nothing is: there a resize is quick, and memory grows with the photos."""
    return KeptBatches(device, _GPU_BYTES if device.type == "cuda" else 0)
