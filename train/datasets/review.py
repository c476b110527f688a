"""Photos that were looked at after an audit, and what was decided: `reviews/*.toml`, applied by `--review on`.

Only training photos are ever left out. Validation and test photos, with their labels, stay as they were published, or
figures could not be compared any more. Called by `train/datasets/photos.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from tomlkit.exceptions import TOMLKitError

from smartbin.errors import DataError
from smartbin.images import LabelledPhoto
from train.datasets.sources import Found
from train.datasets.splits import Split

REVIEWS = Path(__file__).parent / "reviews"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReviewedPhoto(_Record):
    """One photo and the decision on it."""

    file: str = Field(pattern=r"^[^/]+/[^/]+$")
    """Folder and file name."""
    decision: Literal["drop", "keep"]
    reason: Literal["label", "copy"]
    """label: it may be in the wrong folder; copy: another photo shows the same."""
    copy_of: str = Field(default="", pattern=r"^([^/]+/[^/]+)?$")
    """That other photo. The copy is dropped only while the other is a validation or test photo."""
    shows: str
    """What is to be seen on it."""
    why: str

    @model_validator(mode="after")
    def _check_copy(self) -> ReviewedPhoto:
        if (self.reason == "copy") != bool(self.copy_of):
            raise ValueError("copy_of belongs to the reason copy, and only to it")
        return self


class Review(_Record):
    """All photos of a data set that were looked at."""

    photo: tuple[ReviewedPhoto, ...]

    @model_validator(mode="after")
    def _check_once(self) -> Review:
        names = [entry.file for entry in self.photo]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return self


@lru_cache(maxsize=8)
def load_review(name: str, folder: Path = REVIEWS) -> Review | None:
    """The review of a named data set; None if there is none. `DataError` for a file that does not fit."""
    file = folder / f"{name}.toml"
    if not file.is_file():
        return None
    try:
        return Review.model_validate(tomlkit.parse(file.read_text(encoding="utf-8")).unwrap())
    except (TOMLKitError, ValueError) as error:  # a ValidationError is a ValueError
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        found = f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" if problem else error
        raise DataError("the list of reviewed photos cannot be read", where=file, found=found) from error


def apply_review(found: Sequence[Found], split: Split, folder: Path = REVIEWS) -> Split:
    """The split without the training photos that the reviews of its sources drop, and a note on how many."""
    dropped: set[Path] = set()
    for one in found:
        review = load_review(one.kind, folder)
        if review is not None:
            dropped |= _dropped(one, review, split)
    if not dropped:
        return split
    train = tuple(photo for photo in split.parts["train"] if photo.path not in dropped)
    note = f"review: {len(dropped)} training photos left out (wrong labels, and copies of validation and test photos)"
    return Split({**split.parts, "train": train}, split.kind, (*split.notes, note))


def _dropped(found: Found, review: Review, split: Split) -> set[Path]:
    """Paths of this source's training photos that are not to be trained on."""
    training = _by_name(found, split.parts["train"])
    held_out = {*_by_name(found, split.parts["val"]), *_by_name(found, split.parts["test"])}
    return {
        training[entry.file]
        for entry in review.photo
        if entry.decision == "drop"
        and entry.file in training
        and (entry.reason == "label" or entry.copy_of in held_out)
    }


def _by_name(found: Found, photos: Sequence[LabelledPhoto]) -> dict[str, Path]:
    return {found.key(photo): photo.path for photo in photos if found.source.holds(photo.path)}
