"""Labelled pictures as a data set: a folder of class folders, as `python train/run.py --data FOLDER` takes it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.samples.labels import Sample, SampleBook
from smartbin.atomic import replace_folder
from smartbin.errors import DataError


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, by class, and what it left out: labelled none, skipped, or no longer there."""

    counts: dict[str, int]
    none: int
    skipped: int
    removed: int

    @property
    def photos(self) -> int:
        """All pictures that were written."""
        return sum(self.counts.values())


def export_dataset(book: SampleBook, out: Path, none_as: str | None = None) -> Exported:
    """Write every labelled picture to `out/CLASS/NAME.jpg`, the whole folder or nothing.

    A picture has the same name in every export, and one that no other bin gives. `out` must be new or empty. Pictures
    that were written may make room for new ones in the ring from then on. `DataError` if `out` is in use, there is
    nothing to write, a class cannot be a folder, or the disk refuses.
    """
    _check_unused(out)
    labelled = book.labelled()
    chosen = [(sample, name) for sample in labelled if (name := _class_of(sample, none_as)) and not sample.removed]
    if not chosen:
        raise DataError(
            "there is nothing to export",
            where=out,
            found=f"{len(labelled)} labelled pictures, none of them with a class and still there",
            fix="label some: smartbin dataset list shows them, smartbin dataset label ID CLASS",
        )
    for name in {name for _, name in chosen}:
        _check_folder_name(name)
    try:
        with replace_folder(out) as folder:
            written = [(sample, name) for sample, name in chosen if _copy(book.path(sample), folder / name)]
    except OSError as error:
        raise DataError(
            "the export could not be written; nothing of it is left",
            where=out,
            found=error.strerror or error,
            fix="make room, or name another place",
        ) from error
    book.mark_exported([sample for sample, _ in written])
    verdicts = Counter(sample.given.verdict for sample in labelled if sample.given)
    return Exported(
        counts=dict(sorted(Counter(name for _, name in written).items())),
        none=0 if none_as else verdicts["none"],
        skipped=verdicts["skip"],
        removed=sum(sample.removed for sample in labelled) + len(chosen) - len(written),
    )


def missing_classes(exported: Exported, samples: Sequence[Sample]) -> list[str]:
    """Classes of the models that judged these pictures of which none was exported."""
    known = {name for sample in samples for name in sample.classes}
    return sorted(known - set(exported.counts))


def _class_of(sample: Sample, none_as: str | None) -> str | None:
    if sample.given is None:
        return None
    return none_as if sample.given.verdict == "none" else sample.given.label


def _check_unused(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()) or (out.is_dir() and any(out.iterdir())):
        raise DataError(
            "an export does not overwrite anything",
            where=out,
            found="something is there",
            expected="a new or an empty folder",
            fix="choose another name; train/run.py --data takes several folders",
        )


def _check_folder_name(name: str) -> None:
    if "/" in name or "\0" in name or name.startswith((".", "__")):
        raise DataError(
            "this class cannot be a folder", found=repr(name), expected="no slash, and no dot or __ in front"
        )


def _copy(source: Path, folder: Path) -> bool:
    """Copy a picture; False if the ring has dropped it meanwhile."""
    folder.mkdir(exist_ok=True)
    try:
        shutil.copyfile(source, folder / source.name)
    except FileNotFoundError:
        if not any(folder.iterdir()):
            folder.rmdir()
        return False
    return True
