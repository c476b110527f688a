"""Which class each folder of a data set is, and the classes to train on.

In: folders, and what `--classes` says. Out: a class per folder. Called by `train/datasets/sources.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE, check_classes
from smartbin.errors import DataError
from smartbin.images import list_images
from train.datasets.named_sets import Place, class_folders, find_named
from train.datasets.root import FETCHED


def folder_classes(root: Path, known: Sequence[str], *, mapped: bool) -> dict[str, str]:
    """Class of each folder; `mapped`: the recycle data set's folders as classes of the garbage data set.

    A folder whose name is neither one of `known` nor a class of these sets is one only if photos lie right in it.
    """
    folders = class_folders(root)
    if not folders:
        flat = len(list_images(root))
        raise DataError(
            "no class folders here",
            where=root,
            found=f"{flat} photos without a class" if flat else "no photos",
            expected="one folder of photos per class",
            fix=f"put the photos of each class into a folder of its name: {root / 'CLASS' / 'photo.jpg'}"
            if flat
            else "check the path",
        )
    sure = {*known, *GARBAGE_CLASSES, *RECYCLE_TO_GARBAGE}
    if outer := [name for name in folders if name not in sure and _holds_folders_of_photos(root / name)]:
        raise DataError(
            "these folders hold folders of photos, not photos",
            where=root,
            found="; ".join(f"{name}: {', '.join(class_folders(root / name))}" for name in outer),
            expected="photos right in each class folder",
            fix=_instead_of(root, outer),
        )
    return {folder: RECYCLE_TO_GARBAGE.get(folder, folder) if mapped else folder for folder in folders}


def _holds_folders_of_photos(folder: Path) -> bool:
    photos = list_images(folder)
    return bool(photos) and all(photo.parent != folder for photo in photos)


def _instead_of(root: Path, outer: Sequence[str]) -> str:
    """What to write instead of `root`, where the folders `outer` hold folders of photos."""
    sets = [name for name in FETCHED if (found := find_named(name, root)) and found.parent == root]
    if sets:
        names = [*sets, *(["combined"] if len(sets) > 1 else [])]
        return f"instead of this folder write {' or '.join(names)}, and --data-root {root}"
    classes = ",".join(class_folders(root))
    return f"give the folder of the class folders, such as {root / outer[0]}; or train on these: --classes {classes}"


def names_in(classes: str) -> list[str]:
    """The names that `--classes` gives, if it gives any."""
    return [] if classes in ("auto", "any") else [name.strip() for name in classes.split(",")]


def chosen_classes(places: Sequence[Place], labels: Sequence[Mapping[str, str]], wanted: str) -> tuple[str, ...]:
    """The classes to train on; `DataError` for folders that are none of them and for classes without a folder."""
    found = {label for mapping in labels for label in mapping.values()}
    where = ", ".join(str(place.root) for place in places)
    if wanted == "any" or (wanted == "auto" and not found & set(GARBAGE_CLASSES)):
        first = [] if len(places) == 1 else [name for name in GARBAGE_CLASSES if name in found]
        return check_classes([*first, *sorted(found - set(first))])
    names = GARBAGE_CLASSES if wanted == "auto" else check_classes(names_in(wanted))
    for place, mapping in zip(places, labels, strict=True):
        if unknown := sorted(folder for folder, label in mapping.items() if label not in names):
            raise DataError(
                "unknown class folders",
                where=place.root,
                found=", ".join(unknown),
                expected=", ".join(names),
                fix="rename or remove them, or take all folders as classes: --classes any",
            )
    if missing := [name for name in names if name not in found]:
        raise DataError(
            "class folders are missing",
            where=where,
            found=", ".join(sorted(found)),
            expected=", ".join(missing),
            fix="add them, or take the folders there are as classes: --classes any",
        )
    return names
