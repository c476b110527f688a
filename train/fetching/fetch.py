"""Fetch a data set: from a source to a folder of class folders with a record, complete or not at all.

In: `train/fetching/data_sources.toml` and the command line. Out: `<data root>/<name>/<class>/<photo>` and
`dataset.json`. Downloads lie in `<data root>/.downloads` until the data set is whole; after an interruption they are
continued.

```
python train/run.py data fetch garbage
python train/run.py data fetch recycle --file recycle_data_shuffled.tar.gz
python train/run.py data list
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from smartbin import __version__
from smartbin.atomic import replace_folder
from smartbin.errors import DataError
from train.console import say
from train.datasets.root import default_data_root
from train.fetching.archive import Limits
from train.fetching.class_photos import lay_out_photos
from train.fetching.command import FetchCommand, parse_fetch
from train.fetching.disk import DiskError, check_room
from train.fetching.fetched_set import (
    FetchRecord,
    count_bytes,
    describe_amount,
    hash_photos,
    photos_of,
    read_record,
    what_differs,
    write_record,
)
from train.fetching.kaggle_hub import KaggleClient, KaggleHub
from train.fetching.part_file import BY_HAND
from train.fetching.place import clear_downloads, locked_root
from train.fetching.recycle_npz import lay_out_recycle
from train.fetching.registry import data_sets
from train.fetching.sources import FetchTask, Origin, choose_sources, from_file, obtain


def fetch_data(arguments: Sequence[str], kaggle: KaggleClient | None = None) -> int:
    """The command `data fetch`; returns 0, or raises `DataError`."""
    command = parse_fetch(arguments)
    spec = data_sets()[command.name]
    if spec.made_of:
        say(f"{command.name}: {spec.about}. It needs {' and '.join(spec.made_of)}, and nothing else.")
    try:
        for name in spec.made_of or (command.name,):
            _fetch(replace(command, name=name), kaggle or KaggleHub())
    except KeyboardInterrupt:
        say("what has arrived is kept: the same command continues")
        raise
    say(f"train with: --data {command.name}{_root_flag(command.root)}")
    return 0


def _fetch(command: FetchCommand, kaggle: KaggleClient) -> None:
    name = command.name
    _check_root(command.root)
    with locked_root(command.root, name) as downloads:
        before = _read_before(command)
        task = FetchTask(name, data_sets()[name], command, before, downloads)
        if not command.force and task.folder.exists():
            _check_same(task)
            return
        if command.file is None:
            _install_from_sources(task, kaggle)
        else:
            _install(task, from_file(task, command.file))
        clear_downloads(downloads, name)


def _check_root(root: Path) -> None:
    """`DataError` if the root is a data set itself: one in a folder of another would be taken for a class."""
    known = {name for spec in data_sets().values() for name in spec.classes}
    if own := sorted(name for name in known if (root / name).is_dir()):
        raise DataError(
            "the data root is a data set itself",
            where=root,
            found=f"class folders: {', '.join(own)}",
            expected="a folder in which each data set has a folder of its name",
            fix="--to FOLDER, or point SMARTBIN_DATA at the folder above",
        )


def _read_before(command: FetchCommand) -> FetchRecord | None:
    """The record of what is there; with `--force` a damaged one is none."""
    try:
        return read_record(command.root / command.name)
    except DataError:
        if command.force:
            return None
        raise


def _check_same(task: FetchTask) -> None:
    """Say that the data set is here; `DataError` if the folder is something else."""
    record, wanted = task.before, task.command.sha256
    if record is None:
        raise DataError(
            "there is a folder in the way, which was not fetched",
            where=task.folder,
            expected="nothing here, or a data set with its dataset.json",
            fix="move it away, give another place with --to, or have it replaced with --force",
        )
    if differs := what_differs(task.folder, record, thorough=True):
        raise DataError(
            "the data set is no longer what was fetched",
            where=task.folder,
            found=differs,
            expected=f"{record.photos:,} photos as fetched on {record.fetched_at:%Y-%m-%d}",
            fix="--force fetches it again and replaces the folder",
        )
    if wanted is not None and record.archive_sha256 != wanted:
        raise DataError(
            "the data set here was made from another archive",
            where=task.folder,
            found=f"sha256 {record.archive_sha256 or 'none: there was no archive'}",
            expected=f"sha256 {wanted}",
            fix="--force fetches it again and replaces the folder",
        )
    amount = describe_amount(record.counts, task.spec)
    say(f"{task.name} is here, unchanged since it was fetched: {amount} in {task.folder}")


def _install_from_sources(task: FetchTask, kaggle: KaggleClient) -> None:
    """From the first source that gives the data set; `DataError` naming what was wrong with each."""
    sources = choose_sources(task, kaggle)
    errors: list[tuple[str, DataError]] = []
    for source in sources:
        try:
            _install(task, obtain(task, source, kaggle))
            return
        except DiskError:
            raise
        except DataError as error:
            if len(sources) == 1:
                raise
            errors.append((source.name, error))
            say(f"{source.name}: {error.what}{f' ({error.found})' if error.found else ''}")
    reasons = [f"{name}: {error.what} ({error.found})" for name, error in errors]
    raise DataError(
        f"{task.name} cannot be had from any source",
        found="\n    " + "\n    ".join(reasons),
        fix=f"check the network and run the same command again, which continues; {BY_HAND}. All about one source: "
        "--source NAME",
    )


def _install(task: FetchTask, origin: Origin) -> None:
    """Lay out, check and record the data set beside its place, then put it there, whatever was there."""
    check_room(task.downloads, task.spec.room_bytes)
    try:
        with replace_folder(task.folder) as new:
            record = _lay_out(task, origin, new)
            write_record(new, record)
    except DiskError:
        raise
    except DataError:
        if origin.path.is_relative_to(task.downloads):
            origin.path.unlink()  # the next try shall not meet it again
        raise
    _report(task, record)


def _lay_out(task: FetchTask, origin: Origin, new: Path) -> FetchRecord:
    spec, limits = task.spec, Limits(task.spec.most_files, task.spec.most_bytes)
    notes: list[str] = []
    if spec.layout == "photos":
        lay_out_photos(origin.path, new, spec.classes, limits, by_hand=origin.source == "file")
    else:
        notes = lay_out_recycle(origin.path, new, task.downloads, spec.classes, limits)
    photos = photos_of(new, spec.classes)
    counts = {name: len(files) for name, files in photos.items()}
    if other := [
        f"{name} {counts[name]} ({spec.counts[name]})" for name in counts if counts[name] != spec.counts[name]
    ]:
        notes.append(f"counts that are not the published ones, which stand in brackets: {', '.join(other)}")
    record = FetchRecord(
        name=task.name,
        source=origin.source,
        place=origin.place,
        archive_bytes=origin.archive_bytes,
        archive_sha256=origin.archive_sha256,
        photos_sha256=hash_photos(photos),
        counts=counts,
        photo_bytes=count_bytes(photos),
        notes=tuple(notes),
        fetched_at=datetime.now(timezone.utc),
        smartbin_version=__version__,
    )
    _check_same_as_before(task, record)
    return record


def _check_same_as_before(task: FetchTask, record: FetchRecord) -> None:
    """From a place that gives no archive the photos themselves must be what they were."""
    before = task.before
    if before is None or before.place != record.place or record.archive_sha256 or record.source == "file":
        return
    if before.photos_sha256 != record.photos_sha256:
        raise DataError(
            "the photos are others than those that were fetched before",
            where=record.place,
            found=f"{record.photos:,} photos, hash {record.photos_sha256}",
            expected=f"{before.photos:,} photos, hash {before.photos_sha256}",
            fix=f"if you trust the new ones, move {task.folder} away and fetch again",
        )


def _report(task: FetchTask, record: FetchRecord) -> None:
    say(f"{task.name}: {describe_amount(record.counts, task.spec)} in {task.folder}")
    say("  " + ", ".join(f"{name} {count}" for name, count in record.counts.items()))
    for note in record.notes:
        say(f"  note: {note}")
    if record.archive_sha256 is None:
        return
    say(f"  archive: {record.archive_bytes:,} bytes, sha256 {record.archive_sha256}")
    if named := [source.name for source in task.spec.sources if source.sha256 == record.archive_sha256]:
        say(f"  which is what is recorded for {named[0]}")
    elif task.command.sha256 is None:
        say(f"  nobody has vouched for it; to get just this file elsewhere: --sha256 {record.archive_sha256}")


def _root_flag(root: Path) -> str:
    return "" if root.resolve() == default_data_root().resolve() else f" --data-root {root}"
