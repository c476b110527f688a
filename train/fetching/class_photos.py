"""A data set of photos in class folders, somewhere inside an archive or a folder: found, checked, laid out plainly.

In: an archive or a folder of which some folder holds the class folders, as TrashNet's `dataset-resized/glass/…` and
Kaggle's `Garbage classification/Garbage classification/glass/…`. Out: `glass/glass1.jpg` and so on in a new folder.
Called by `train/fetching/fetch.py`.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from smartbin.errors import DataError, ImageError
from smartbin.images import IMAGE_SUFFIXES, read_image
from train.console import byte_progress, first_few, progress
from train.fetching.archive import Limits, is_junk, list_members, unpack
from train.fetching.disk import disk_faults

_SHOWN = 5
_FETCH_AGAIN = "fetch again, or from another source: --source NAME"


def lay_out_photos(origin: Path, new: Path, classes: Sequence[str], limits: Limits, *, by_hand: bool = False) -> None:
    """Fill the empty folder `new` with the class folders found in `origin`, an archive or a folder; decodes each photo.

    `by_hand`: somebody has given it, so that it is theirs to mend.

    Raises `DataError` for an archive that is refused, a class without a folder, several sets of class folders, and
    photos that cannot be read.
    """
    if origin.is_dir():
        files = find_class_files(_files_below(origin), classes, origin)
        with progress("copying", len(files)) as advance:
            for path, place in files.items():
                with disk_faults(origin / path):
                    (new / place.parent).mkdir(exist_ok=True)
                    shutil.copyfile(origin / path, new / place)
                advance(1, "")
    else:
        members = list_members(origin, limits)
        files = find_class_files(members, classes, origin)
        with byte_progress("unpacking", sum(members[path] for path in files)) as advance:
            unpack(origin, limits, lambda path: new / files[path] if path in files else None, advance)
    fix = "mend or remove these photos in it, or download it again: --file FILE" if by_hand else _FETCH_AGAIN
    check_photos(sorted(new / place for place in files.values()), origin, fix)


def find_class_files(
    paths: Iterable[PurePosixPath], classes: Sequence[str], origin: Path
) -> Mapping[PurePosixPath, PurePosixPath]:
    """Photos directly in class folders, as `path -> class/name`; `DataError` unless one folder holds them all."""
    by_root: defaultdict[PurePosixPath, dict[PurePosixPath, PurePosixPath]] = defaultdict(dict)
    for path in paths:
        if path.parent.name in classes and path.suffix.lower() in IMAGE_SUFFIXES and not is_junk(path):
            by_root[path.parent.parent][path] = PurePosixPath(path.parent.name, path.name)
    whole = [root for root, files in by_root.items() if _classes_of(files) == set(classes)]
    if len(whole) == 1:
        return by_root[whole[0]]
    if whole:
        raise DataError(
            "several folders hold all classes",
            where=origin,
            found=", ".join(map(str, sorted(whole))),
            expected="one",
            fix="unpack it and give the right one: --file FOLDER",
        )
    nearest = max(by_root.values(), key=lambda files: len(_classes_of(files)), default={})
    missing = [name for name in classes if name not in _classes_of(nearest)]
    raise DataError(
        "class folders are missing",
        where=origin,
        found=", ".join(sorted(_classes_of(nearest))) or "no class folder with photos",
        expected=", ".join(missing),
        fix="is this the right archive, and whole?",
    )


def check_photos(photos: Sequence[Path], origin: Path, fix: str) -> None:
    """Decode every photo; `DataError` naming those that cannot be, where they came from, and `fix`."""
    errors = []
    with progress("checking photos", len(photos)) as advance:
        for path in photos:
            try:
                read_image(path)
            except ImageError as error:
                errors.append(f"{path.parent.name}/{path.name}: {error.what}")
            advance(1, "")
    if errors:
        raise DataError(
            f"{len(errors)} of {len(photos)} photos cannot be read",
            where=origin,
            found=first_few(errors, _SHOWN),
            expected="whole photos",
            fix=fix,
        )


def _classes_of(files: Mapping[PurePosixPath, PurePosixPath]) -> set[str]:
    return {place.parent.name for place in files.values()}


def _files_below(folder: Path) -> list[PurePosixPath]:
    """Regular files below a folder, relative to it; links are not followed."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                found.append(PurePosixPath(path.relative_to(folder).as_posix()))
    return sorted(found)
