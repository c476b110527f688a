"""How light, sharpness and colour are spread over classes and sources, and the photos that fall out of the row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from train.audit.looks import STATISTICS, Statistic, place_of
from train.audit.measure import PhotoFacts
from train.audit.records import Outlier, Spread

OutlierKind: TypeAlias = Literal["very dark", "very bright", "blurred", "almost uniform"]


@dataclass(frozen=True, slots=True)
class _Limit:
    """Beyond `value`, a photo is an outlier: below it if `below`, else above it."""

    kind: OutlierKind
    statistic: str
    value: float
    below: bool


_LIMITS = (
    _Limit("very dark", "luma", 0.15, below=True),
    _Limit("very bright", "clipped", 0.8, below=False),  # where the device calls it too bright
    _Limit("almost uniform", "contrast", 0.02, below=True),
    _Limit("blurred", "detail", -2.5, below=True),  # seen by eye on the garbage photos: sharp ones begin at -2.4
)


def looks_matrix(facts: Sequence[PhotoFacts]) -> NDArray[np.float64]:
    """All statistics of all photos, float64 [photos, statistics]."""
    return np.stack([fact.looks for fact in facts]) if facts else np.empty((0, len(STATISTICS)))


def find_spreads(facts: Sequence[PhotoFacts], classes: Sequence[str], sources: Sequence[str]) -> list[Spread]:
    """Spread of every statistic over all photos, over each class and, if there are several, over each source."""
    matrix = looks_matrix(facts)
    rows: list[Spread] = []
    for by, name, mask in _groups(facts, classes, sources):
        for column, statistic in enumerate(STATISTICS):
            low, middle, high = _spread(matrix[mask, column], statistic)
            rows.append(
                Spread(
                    statistic=statistic.name,
                    by=by,
                    group=name,
                    photos=int(mask.sum()),
                    low=low,
                    middle=middle,
                    high=high,
                )
            )
    return rows


def find_outliers(facts: Sequence[PhotoFacts]) -> list[Outlier]:
    """Photos beyond a limit, kind by kind, the worst first; each once, under the first kind that fits."""
    matrix = looks_matrix(facts)
    found = []
    listed = np.zeros(len(matrix), np.bool_)
    for limit in _LIMITS:
        values = matrix[:, place_of(limit.statistic)]
        beyond = ~listed & (values < limit.value if limit.below else values > limit.value)
        listed |= beyond
        places = np.flatnonzero(beyond)
        order = places[np.argsort(values[places] if limit.below else -values[places], kind="stable")]
        found += [
            Outlier(name=facts[place].name, kind=limit.kind, value=float(values[place]), limit=limit.value)
            for place in order
        ]
    return found


def _groups(
    facts: Sequence[PhotoFacts], classes: Sequence[str], sources: Sequence[str]
) -> Iterator[tuple[Literal["class", "source", "all"], str, NDArray[np.bool_]]]:
    def those(wanted: Callable[[PhotoFacts], bool]) -> NDArray[np.bool_]:
        return np.array([wanted(fact) for fact in facts], np.bool_)

    candidates: list[tuple[Literal["class", "source", "all"], str, NDArray[np.bool_]]] = [
        ("all", "all", those(lambda _: True))
    ]
    candidates += [("class", name, those(lambda fact, name=name: fact.label == name)) for name in classes]  # type: ignore[misc]
    if len(sources) > 1:
        candidates += [("source", name, those(lambda fact, name=name: fact.source == name)) for name in sources]  # type: ignore[misc]
    yield from (candidate for candidate in candidates if candidate[2].any())


def _spread(values: NDArray[np.float64], statistic: Statistic) -> tuple[float, float, float]:
    if not statistic.circular:
        low, middle, high = np.percentile(values, [5, 50, 95])
        return float(low), float(middle), float(high)
    resultant = np.exp(1j * np.deg2rad(values)).mean()
    middle = float(np.rad2deg(np.angle(resultant)) % 360)
    # circular standard deviation (Mardia & Jupp, Directional Statistics, 2000), at most half a turn
    deviation = min(180.0, float(np.rad2deg(np.sqrt(-2 * np.log(max(1e-9, abs(resultant)))))))
    return middle - deviation, middle, middle + deviation
