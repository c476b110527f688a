"""`split.json` of a run directory: which photo was in which part, from where, and where that is now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from smartbin.errors import CheckpointError
from smartbin.images import LabelledPhoto
from train.datasets.photos import DataSet
from train.datasets.sources import PARTS, Part
from train.datasets.splits import RecordedSplit

SPLIT_FILE = "split.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceRecord(_Record):
    """A source of photos: its name, where it was, and the class of each of its folders."""

    name: str
    root: Path
    labels: dict[str, str]


class SplitRecord(_Record):
    """Which photo was in which part; photos are named `source/folder/file`."""

    name: str
    sources: tuple[SourceRecord, ...]
    split: str
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...]
    parts: dict[Part, tuple[str, ...]]

    @model_validator(mode="before")
    @classmethod
    def _read_first_form(cls, value: object) -> object:
        """Records of version 0.1 had one `root`, and photos without a source."""
        if not isinstance(value, dict) or "root" not in value or "sources" in value:
            return value
        name = value["name"]
        source = {"name": name, "root": value["root"], "labels": {label: label for label in value["classes"]}}
        parts = {part: [f"{name}/{photo}" for photo in photos] for part, photos in value["parts"].items()}
        return {key: held for key, held in value.items() if key != "root"} | {"sources": [source], "parts": parts}

    def source_names(self, part: Part) -> list[str]:
        """Source of each photo of a part, in their order."""
        return [name.split("/", 1)[0] for name in self.parts[part]]

    def listed(self, part: Part, data: Sequence[str] | Path | None = None) -> list[LabelledPhoto]:
        """The photos of a part, absolute paths, whether the files are there or not; `data` as in `roots`."""
        roots = self.roots(data)
        labels = {(source.name, folder): label for source in self.sources for folder, label in source.labels.items()}
        photos = []
        for entry in self.parts[part]:
            name, folder, file = entry.split("/", 2)
            photos.append(LabelledPhoto(roots[name] / folder / file, labels[name, folder]))
        return photos

    def roots(self, data: Sequence[str] | Path | None = None) -> dict[str, Path]:
        """Folder of each source, by its name.

        `data` is where the photos are now, if they moved: a folder for one source, `NAME=FOLDER` for each of several
        that moved; `CheckpointError` for a folder that is of no source.
        """
        roots = {source.name: source.root for source in self.sources}
        given = [str(data)] if isinstance(data, (str, Path)) else list(data or ())
        for item in given:
            name, equals, folder = item.partition("=")
            if not (equals and name in roots):
                name, folder = next(iter(roots)), item
                if len(roots) > 1:
                    raise CheckpointError(
                        "this run has several sources of photos",
                        where=f"--data {item}",
                        expected=", ".join(f"{source}=FOLDER" for source in roots),
                        fix="say whose folder it is",
                    )
            roots[name] = Path(folder)
        return {name: root.resolve() for name, root in roots.items()}

    def recorded(self) -> RecordedSplit:
        """The split by names, for the run to go on with."""
        return RecordedSplit(self.parts, self.split, self.notes)


def record_split(data: DataSet, fingerprint: str) -> SplitRecord:
    """The record of a data set."""
    sources = (SourceRecord(name=source.name, root=source.root, labels=dict(source.labels)) for source in data.sources)
    return SplitRecord(
        name=data.name,
        sources=tuple(sources),
        split=data.split,
        classes=data.classes,
        fingerprint=fingerprint,
        notes=data.notes,
        parts={part: tuple(data.name_of(photo) for photo in data.part(part)) for part in PARTS},
    )
