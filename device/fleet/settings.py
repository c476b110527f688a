"""Section `[fleet]` of the configuration: whether this bin takes orders through its broker."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class FleetSettings(BaseModel):
    """What may be asked of this bin. What it says of itself is in `[sinks.mqtt]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commands: bool = Field(
        default=False,
        description="install bundles and roll back when the broker says so; needs [sinks.mqtt], [bundles] public_key",
    )
    max_mb: int = Field(default=256, ge=1, le=16_384, description="largest bundle that is fetched")
    timeout_s: float = Field(default=20.0, gt=0, le=600, description="the web server may be silent for so long")
    fetch_s: float = Field(default=900.0, gt=0, le=86_400, description="the whole of a download")
    ca_file: Path | None = Field(
        default=None, description="who has signed the web server's certificate; default the system's authorities"
    )
