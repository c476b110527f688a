"""What a frozen front makes of photos, computed once: where it is kept, how it is built, and samples read from it.

    CACHE/fronts/KEY/    a map (`train/networks/activation_map.py`)

KEY follows from the SHA-256 of every photo in its order, all settings that change what the front gets or how it is
kept, and the front's weights: what does not fit is simply not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from smartbin.atomic import replace_folder
from smartbin.errors import DataError
from smartbin.images import LabelledPhoto
from train.cache.folder import CacheFolder, CacheUnusableError
from train.loader import Sample, SampleKey, Samples
from train.networks.activation_map import MAP_FILE, ActivationMap, ActivationWriter, DamagedMap, Floats, Packing
from train.networks.front import Front

_VERSION = "1"  # of everything that decides what a row holds and is not named in a key


class FrontCache(CacheFolder):
    """The maps below a cache folder, which holds at most `limit_bytes` of them."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        super().__init__(folder / "fronts", MAP_FILE, "activations of the frozen front", limit_bytes)

    def open(
        self, key: str, packing: Packing, count: int, rows: Callable[[], Iterator[NDArray[np.float32]]]
    ) -> ActivationMap:
        """The map of that key, built from the `count` rows that `rows` yields if it is not there.

        `CacheUnusableError` if it cannot be kept here; the cache is then as it was.
        """
        path = self.folder / key
        with self.building(path):
            try:
                found = ActivationMap(path)
            except DamagedMap:
                self._write(path, packing, count, rows)
                self.trim(keep=path)
                return ActivationMap(path)
            self.touch(path)
            return found

    def _write(
        self, path: Path, packing: Packing, count: int, rows: Callable[[], Iterator[NDArray[np.float32]]]
    ) -> None:
        with replace_folder(path) as folder, closing(ActivationWriter(folder, packing)) as writer:
            try:
                for number, row in enumerate(rows()):
                    if not number:
                        self.check_room(row.size * np.dtype(packing).itemsize * count)
                    writer.add(row)
            except OverflowError as error:
                raise CacheUnusableError(f"{error}: give --front float32") from error
            writer.finish()


@dataclass(frozen=True, slots=True)
class FrontSamples(Samples):
    """Photos as the front left them; the views of a photo lie one after the other, from its first row on."""

    photos: Sequence[LabelledPhoto]
    classes: tuple[str, ...]
    rows: ActivationMap
    first_rows: Sequence[int]

    def __getitem__(self, key: SampleKey) -> Sample:
        try:
            activation: Floats = self.rows.row(self.first_rows[key.photo] + key.view)
        except DamagedMap as error:
            raise DataError(
                "the kept activations of the frozen front were altered",
                where=self.rows.folder,
                fix="delete that folder, then continue with --resume",
            ) from error
        return Sample(activation, self.classes.index(self.photos[key.photo].label))


def weights_digest(model: nn.Module, front: Front) -> str:
    """SHA-256 over names and values of everything in the front."""
    digest = hashlib.sha256()
    for path in front.modules:
        for name, value in model.get_submodule(path).state_dict().items():
            digest.update(f"{path}.{name} {value.dtype} {list(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def front_key(settings: Sequence[str], photos: Sequence[str]) -> str:
    """Name of the map of photos with these SHA-256, in this order, made with these settings."""
    content = "\n".join([_VERSION, *settings, "", *photos])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
