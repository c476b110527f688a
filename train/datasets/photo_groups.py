"""Groups of photos that show one object, or objects that cannot be told apart, so that no split tears them apart.

In: photos. Out: a group number for each. Photos share a group when their descriptors are close (average linkage over
`train/datasets/descriptors.py`), when they have the same print (`train/datasets/photo_matches.py`), or when their
perceptual hashes are close (`train/datasets/duplicates.py`). Computed once for a set of photos and kept in the cache
folder by content. Called by `train/datasets/splits.py`.

Seen by eye on 30 groups of the garbage data set's photos, drawn at random (`data groups --sheet`): 21 show one object,
or one kind of bottle or box, 9 show different ones of a kind that look alike (lids, cans from above, plain cardboard).
Such a group costs a split nothing; a torn one would flatter its figures. File numbers were tried, too, and say little:
of two photos with neighbouring numbers 5 % are as alike as the most alike 1 % of a class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from smartbin.atomic import write_text_atomic
from smartbin.bundle import sha256_file
from smartbin.images import LabelledPhoto
from train.cache.photo_cache import GROUPS_FOLDER, default_cache_folder
from train.cache.reading import PhotoStore, open_photos
from train.config import TrainConfig
from train.console import say
from train.datasets.descriptors import LITE0, describe_photos
from train.datasets.duplicates import group_numbers, near_pairs, photo_hash
from train.datasets.photo_matches import matching_pairs

CLOSE = 0.65
"""Mean similarity of descriptors above which two groups become one. Of the garbage data set's 166 pairs with 16 or more
matching corners, 53 % are in a common group by this alone; at .75 it would be 37 %, at .6 58 % in larger groups."""

NETWORK = LITE0
_BLOCK = 512  # rows of the similarity matrix that are held at a time
_VERSION = 1


class GroupFile(BaseModel):
    """A file of the cache: group number of each photo, by the SHA-256 of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: dict[str, int]


@dataclass(frozen=True, slots=True)
class PhotoGroups:
    """Group number of every photo."""

    numbers: Mapping[Path, int]

    def straddling(self, first: Sequence[LabelledPhoto], second: Sequence[LabelledPhoto]) -> list[LabelledPhoto]:
        """The photos of `first` that share a group with one of `second`."""
        there = {self.numbers[photo.path] for photo in second}
        return [photo for photo in first if self.numbers[photo.path] in there]

    def members(self) -> dict[int, list[Path]]:
        """The photos of each group, in the order in which they were given."""
        groups: dict[int, list[Path]] = {}
        for path, number in self.numbers.items():
            groups.setdefault(number, []).append(path)
        return groups


def find_groups(photos: Sequence[LabelledPhoto], config: TrainConfig) -> PhotoGroups:
    """Group photos by the object that they show; from the cache, or computed in minutes and kept there.

    Raises `DataError` for photos that cannot be read and `WeightsError` if `config.group_weights` are not to be had.
    """
    store = open_photos(photos, config.machine, config.photo_side)
    digests = [store.digests[photo.path] for photo in photos]
    file = _cache_file(digests, config)
    known = _read(file)
    if known is None or not known.keys() >= set(digests):
        numbers = group_by_object(photos, store, config)
        known = dict(zip(digests, numbers.tolist(), strict=True))
        _write(file, known)
    return PhotoGroups({photo.path: known[digest] for photo, digest in zip(photos, digests, strict=True)})


def group_by_object(photos: Sequence[LabelledPhoto], store: PhotoStore, config: TrainConfig) -> NDArray[np.int64]:
    """Group numbers [N], computed."""
    descriptors = describe_photos(photos, store, NETWORK, config.group_weights, config.machine)
    alike = _chains(cluster(descriptors, CLOSE))
    print_pairs = matching_pairs(photos, store, descriptors)
    return group_numbers(len(photos), [*alike, *print_pairs, *same_view_pairs(photos, store)])


def same_view_pairs(photos: Sequence[LabelledPhoto], store: PhotoStore) -> list[tuple[int, int]]:
    """Places of photos that show the same from the same side: almost the same picture."""
    hashes = [photo_hash(store.training_image(photo.path)) for photo in photos]
    return [(pair.first, pair.second) for pair in near_pairs(hashes)]


def cluster(descriptors: NDArray[np.float32], close: float) -> NDArray[np.int64]:
    """Cluster numbers [N] of unit rows [N, D]: average linkage, cut at the similarity `close`.

    Clusters that average linkage joins at `close` hold a pair that is at least so similar. So each connected part of
    the graph of such pairs is clustered by itself, with the same outcome, and the whole matrix is never held.
    """
    count = len(descriptors)
    rows, columns = [], []
    for start in range(0, count, _BLOCK):
        row, column = np.nonzero(descriptors[start : start + _BLOCK] @ descriptors.T >= close)
        rows.append(row + start)
        columns.append(column)
    first, second = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(count, count))
    _, parts = connected_components(graph, directed=False)
    numbers = np.zeros(count, np.int64)
    used = 0
    for part in range(int(parts.max()) + 1):
        members = np.flatnonzero(parts == part)
        inside = _average_linkage(descriptors[members], close)
        numbers[members] = inside + used
        used += int(inside.max()) + 1
    return numbers


def _average_linkage(descriptors: NDArray[np.float32], close: float) -> NDArray[np.int64]:
    if len(descriptors) < 2:
        return np.zeros(len(descriptors), np.int64)
    from sklearn.cluster import AgglomerativeClustering  # half a second, which few runs need

    distances = np.clip(1 - descriptors @ descriptors.T, 0, 2).astype(np.float64)
    np.fill_diagonal(distances, 0)
    method = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - close, metric="precomputed", linkage="average"
    )
    return np.asarray(method.fit_predict(distances), np.int64)


def _chains(clusters: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs that connect the members of each cluster."""
    order = np.argsort(clusters, kind="stable")
    return [(int(a), int(b)) for a, b in pairwise(order) if clusters[a] == clusters[b]]


def _cache_file(digests: Sequence[str], config: TrainConfig) -> Path:
    folder = config.machine.cache_dir or default_cache_folder()
    file = Path(config.group_weights)
    weights = sha256_file(file) if file.is_file() else config.group_weights
    settings = f"{_VERSION} {NETWORK.architecture} {weights} {CLOSE}"
    key = hashlib.sha256("\n".join([settings, *sorted(set(digests))]).encode()).hexdigest()[:32]
    return folder / GROUPS_FOLDER / f"{key}.json"


def _read(file: Path) -> dict[str, int] | None:
    try:
        return GroupFile.model_validate_json(file.read_bytes()).groups
    except (OSError, ValidationError):
        return None


def _write(file: Path, groups: dict[str, int]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(file, GroupFile(groups=groups).model_dump_json() + "\n")
    except OSError as error:
        say(f"  note: groups of photos are computed at every start ({file.parent}: {error.strerror or error})")
