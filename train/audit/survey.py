"""The audit itself, in the order in which things happen: open the photos, find copies, spreads, short cuts, labels.

In: a data set and, if labels are to be checked, a frozen network. Out: a `Survey`, from which the report is made.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from smartbin.errors import DataError
from train.audit.alike import find_alike
from train.audit.copies import find_copies
from train.audit.labels import check_labels
from train.audit.measure import Measured, PhotoFacts, measure_photos
from train.audit.network import FrozenNetwork
from train.audit.records import AlikeGroups, Audit, Broken, Count, LabelCheck, Shape, Shortcut
from train.audit.shortcuts import Target, find_shortcuts
from train.audit.spreads import find_outliers, find_spreads, looks_matrix
from train.console import say
from train.datasets.photos import DataSet

_PACKAGES = ("numpy", "opencv-python-headless", "imagehash", "scikit-learn", "cleanlab", "torch")
_FEWEST = 10
_NOT_ASKED = "it was not asked for"


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found, and the measurements that figures are drawn from; `matrix` is float64 [photos, statistics]."""

    audit: Audit
    measured: Measured
    matrix: NDArray[np.float64]

    @property
    def facts(self) -> tuple[PhotoFacts, ...]:
        """The readable photos, in the order of the matrix."""
        return self.measured.facts


def survey(data: DataSet, network: FrozenNetwork | None, alike: float) -> Survey:
    """Audit a data set; `DataError` if fewer than ten of its photos can be read.

    Without a network neither labels nor look-alikes are checked. `alike` is the cosine above which features of two
    photos count as the same item.
    """
    begun_s = time.monotonic()
    measured = measure_photos(data, network)
    facts = measured.facts
    if len(facts) < _FEWEST:
        raise DataError(
            "there is hardly a photo to audit",
            where=data.where,
            found=f"{len(facts)} readable, {len(measured.broken)} broken",
            expected=f"{_FEWEST} or more readable photos",
        )
    copies, groups = find_copies(facts)
    lookalikes: AlikeGroups | None = None
    if measured.features is not None:
        lookalikes, groups = find_alike(facts, measured.features, alike, groups)
    sources = tuple(source.name for source in data.sources)
    matrix = looks_matrix(facts)
    labels = _check_labels(facts, measured, data, groups, network)
    audit = Audit(
        data=data.name,
        split=data.split,
        notes=(*data.notes, *([network.note] if network and network.note else [])),
        classes=data.classes,
        sources=sources,
        photos=len(facts) + len(measured.broken),
        counts=tuple(_counts(data, sources)),
        shapes=tuple(_shapes(facts)),
        broken=tuple(Broken(name=entry.name, error=entry.error) for entry in measured.broken),
        copies=copies,
        alike=lookalikes,
        spreads=tuple(find_spreads(facts, data.classes, sources)),
        outliers=tuple(find_outliers(facts)),
        shortcuts=tuple(_shortcuts(facts, matrix, sources, groups)),
        labels=labels if isinstance(labels, LabelCheck) else None,
        labels_note=labels if isinstance(labels, str) else "",
        seconds=time.monotonic() - begun_s,
        software=", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    )
    return Survey(audit, measured, matrix)


def _counts(data: DataSet, sources: Sequence[str]) -> list[Count]:
    """Photos per source, class and part, broken ones included."""
    parts = (("train", data.train), ("val", data.val), ("test", data.test))
    found = Counter((data.source_of(photo), photo.label, part) for part, photos in parts for photo in photos)
    return [
        Count(source=source, label=label, part=part, photos=found[source, label, part])
        for source in sources
        for label in data.classes
        for part, _ in parts
        if found[source, label, part]
    ]


def _shapes(facts: Sequence[PhotoFacts]) -> list[Shape]:
    found = Counter((fact.format, fact.width, fact.height) for fact in facts)
    return [
        Shape(format=kind, width=width, height=height, photos=photos)
        for (kind, width, height), photos in found.most_common()
    ]


def _check_labels(
    facts: Sequence[PhotoFacts],
    measured: Measured,
    data: DataSet,
    groups: NDArray[np.int64],
    network: FrozenNetwork | None,
) -> LabelCheck | str:
    if network is None or measured.features is None:
        return _NOT_ASKED
    return check_labels(facts, measured.features, data.classes, groups, network.origin)


def _shortcuts(
    facts: Sequence[PhotoFacts], matrix: NDArray[np.float64], sources: Sequence[str], groups: NDArray[np.int64]
) -> list[Shortcut]:
    targets: list[tuple[Target, NDArray[np.str_]]] = [("class", np.array([fact.label for fact in facts]))]
    if len(sources) > 1:
        targets.append(("source", np.array([fact.source for fact in facts])))
    say("looking for short cuts")
    return find_shortcuts(matrix, targets, groups)
