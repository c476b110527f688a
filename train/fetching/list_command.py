"""The command `data list`: which data sets there are, and which of them are here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smartbin.errors import DataError
from train.console import say
from train.datasets.named_sets import find_named
from train.fetching.command import parse_list
from train.fetching.fetched_set import describe_amount, photos_of, read_record, what_differs
from train.fetching.registry import DataSetSpec, data_sets


def list_data(arguments: Sequence[str]) -> int:
    """Print a few lines per data set; returns 0."""
    root = parse_list(arguments)
    for name, spec in data_sets().items():
        if spec.made_of:
            say(f"{name:14} made of {' and '.join(spec.made_of)}: {spec.about}")
            continue
        say(f"{name:14} {_state(name, spec, root)}")
        say(f"{'':14} {spec.about}; {sum(spec.counts.values()):,} photos; licence: {spec.licence}")
        for source in spec.sources:
            vouched = f", sha256 {source.sha256[:12]}…" if source.sha256 else ""
            say(f"{'':14} source {source.name}: {source.place}{vouched}")
    return 0


def _state(name: str, spec: DataSetSpec, root: Path) -> str:
    folder = find_named(name, root)
    if folder is None:
        return f"not here ({root / name})"
    try:
        record = read_record(folder)
    except DataError as error:
        return f"damaged: {error.what} ({folder})"
    if record is None:
        counts = {label: len(photos) for label, photos in photos_of(folder, spec.classes).items()}
        return f"here: {describe_amount(counts, spec)}, not fetched by smartbin ({folder})"
    if differs := what_differs(folder, record, thorough=False):
        return f"changed since it was fetched: {differs} ({folder})"
    amount = describe_amount(record.counts, spec)
    return f"here: {amount} from {record.source}, fetched {record.fetched_at:%Y-%m-%d} ({folder})"
