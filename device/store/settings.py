"""Section `[store]` of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from device.store.paths import StorePaths, default_folder
from device.store.retention import RetentionLimits


class StoreSettings(BaseModel):
    """Whether events are kept, where, and how much of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: Literal["auto", "on", "off"] = Field(
        default="auto", description="keep every event; auto: those of live cameras, none of a recording or of photos"
    )
    folder: Path | None = Field(default=None, description="where; default ~/.local/share/smartbin/store")
    keep_days: float = Field(default=365.0, gt=0, description="older events are forgotten")
    max_mb: float = Field(default=200.0, ge=1, description="above this size of the file the oldest are forgotten")
    queue: int = Field(default=2000, ge=1, le=100_000, description="events that wait for a full or slow disk, at most")

    @property
    def paths(self) -> StorePaths:
        """The files of the store."""
        return StorePaths((self.folder or default_folder()).expanduser())

    @property
    def limits(self) -> RetentionLimits:
        """What is forgotten when."""
        return RetentionLimits(self.keep_days, round(self.max_mb * 1e6))

    def keeps(self, *, live: bool) -> bool:
        """Whether the events of a source are kept."""
        return self.enabled == "on" or (self.enabled == "auto" and live)
