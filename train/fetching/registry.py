"""What is known of each data set that can be fetched: where it is, how large, its hash and its counts.

In: `train/fetching/data_sources.toml`. Out: a `DataSetSpec` per name. Called by `train/fetching/fetch.py`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from smartbin.errors import ConfigError

FILE = Path(__file__).parent / "data_sources.toml"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSpec(_Entry):
    """One place that a data set can be had from: an archive at a URL, or a data set of Kaggle."""

    name: str = Field(min_length=1)
    url: str = Field(default="", pattern=r"^(https?://.+)?$")
    kaggle: str = ""
    size: int | None = Field(default=None, gt=0)
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _check_place(self) -> SourceSpec:
        if bool(self.url) == bool(self.kaggle):
            raise ValueError("a source has either a url or a kaggle handle")
        if self.kaggle and (self.size or self.sha256):
            raise ValueError("kagglehub gives no archive that size and sha256 could be of")
        return self

    @property
    def place(self) -> str:
        """The URL, or what stands for it."""
        return self.url or f"kaggle:{self.kaggle}"


class DataSetSpec(_Entry):
    """A data set: where it comes from and what must be in it, or which other sets it is made of."""

    about: str
    licence: str = ""
    made_of: tuple[str, ...] = ()
    layout: Literal["photos", "recycle-npz"] = "photos"
    counts: dict[str, int] = Field(default_factory=dict)
    """Photos per class as published; the keys are the class folders."""
    most_files: int = Field(default=0, ge=0)
    most_bytes: int = Field(default=0, ge=0)
    """An archive that holds more files or unpacks to more bytes is refused."""
    room_bytes: int = Field(default=0, ge=0)
    """Disk space that unpacking needs, besides the archive."""
    sources: tuple[SourceSpec, ...] = ()
    """In the order in which they are tried."""

    @model_validator(mode="after")
    def _check_whole(self) -> DataSetSpec:
        if self.made_of:
            if self.sources or self.counts:
                raise ValueError("a set made of others has no sources and counts of its own")
        elif not (self.sources and self.counts and self.most_files and self.most_bytes and self.room_bytes):
            raise ValueError("a set needs sources, counts, most_files, most_bytes and room_bytes")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders."""
        return tuple(self.counts)


class _Registry(RootModel[dict[str, DataSetSpec]]):
    @model_validator(mode="after")
    def _check_parts(self) -> _Registry:
        for name, spec in self.root.items():
            for part in spec.made_of:
                if part not in self.root or self.root[part].made_of:
                    raise ValueError(f"{name} is made of {part}, which is no data set with sources")
        return self


@lru_cache(maxsize=1)
def data_sets() -> dict[str, DataSetSpec]:
    """All data sets by name, in the order of the file."""
    return read_registry(FILE)


def read_registry(file: Path) -> dict[str, DataSetSpec]:
    """Read a registry file; `ConfigError` for one that does not hold what it should."""
    try:
        return _Registry.model_validate(tomlkit.parse(file.read_text(encoding="utf-8")).unwrap()).root
    except (OSError, ValueError) as error:  # pydantic's and tomlkit's errors are ValueErrors
        raise ConfigError("the registry of data sets cannot be used", where=file, found=error) from error
