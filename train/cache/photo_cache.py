"""Where decoded photos are kept: finding, building and clearing the maps of the cache folder.

    CACHE/maps/KEY/    a map (`photo_map.py`); KEY follows from the SHA-256 of every photo, size kept and decoder
    CACHE/maps/KEY.lock  held while it is built
    CACHE/index/       which files have not changed (`train/cache/photo_index.py`)
    CACHE/fronts/      what frozen fronts made of photos (`train/networks/front_cache.py`)
    CACHE/groups/      which photos show one object (`train/datasets/photo_groups.py`)

Everything in it can be deleted at any time: `python train/run.py cache clear`, or by hand.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from smartbin.atomic import replace_folder
from smartbin.images import BgrImage
from train.cache.folder import CacheFolder, CacheUnusableError, default_cache_folder
from train.cache.photo_map import CODEC, MAP_FILE, DamagedMap, MapWriter, PhotoMap

__all__ = ["GROUPS_FOLDER", "CacheUnusableError", "PhotoCache", "clear", "default_cache_folder", "map_key"]

GROUPS_FOLDER = "groups"


def map_key(digests: Iterable[str], side: int) -> str:
    """Name of the map of these photos with this setting."""
    content = "\n".join([CODEC, str(side), *sorted(set(digests))])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


class PhotoCache(CacheFolder):
    """The maps below a folder, which holds at most `limit_bytes` of them."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        super().__init__(folder / "maps", MAP_FILE, "decoded photos", limit_bytes)

    def find(self, digests: frozenset[str], side: int) -> PhotoMap | None:
        """A map that holds all these photos, be it one of more photos; None if there is none."""
        wanted = map_key(digests, side)
        for stored in sorted(self.stored(), key=lambda item: item.path.name != wanted):
            try:
                found = PhotoMap(stored.path)
            except DamagedMap:
                continue
            if found.serves(digests, side):
                self.touch(stored.path)
                return found
        return None

    def build(
        self,
        digests: frozenset[str],
        side: int,
        estimate: Callable[[], int],
        decoded: Callable[[], Iterator[tuple[str, BgrImage]]],
    ) -> PhotoMap:
        """The map of these photos, built from what `decoded` yields unless another process has just done so.

        `estimate` says how many bytes it will take. Raises `CacheUnusableError` if there is no room or no permission,
        and whatever `decoded` raises; the cache is then as it was.
        """
        path = self.folder / map_key(digests, side)
        with self.building(path):
            if (found := self.find(digests, side)) is not None:
                return found
            self.check_room(estimate())
            self._write(path, side, decoded)
            self.trim(keep=path)
        return PhotoMap(path)

    def _write(self, path: Path, side: int, decoded: Callable[[], Iterator[tuple[str, BgrImage]]]) -> None:
        with replace_folder(path) as folder, closing(MapWriter(folder, side)) as writer:
            for digest, image in decoded():
                writer.add(digest, image)
                if writer.bytes > self.limit_bytes:
                    self.check_room(writer.bytes)
            writer.finish()


def clear(folder: Path) -> int:
    """Remove all that the cache in `folder` holds; returns the bytes. Running processes keep what they opened."""
    freed = 0
    for part in (folder / "maps", folder / "fronts", folder / "index", folder / GROUPS_FOLDER):
        freed += sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        shutil.rmtree(part, ignore_errors=True)
    return freed
