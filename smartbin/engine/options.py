"""How an engine is built. Every field is part of the cache's key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

_MIB = 1 << 20


class EngineOptions(BaseModel):
    """Settings of `smartbin engine build` and of the daemon that looks for what it built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_batch: int = Field(default=4, ge=1, le=64, description="the engine takes 1 to so many images at once, best 1")
    workspace_mb: int = Field(default=1024, ge=16, le=65536, description="most memory that a layer may use, MiB")
    dla_core: int | None = Field(
        default=None, ge=0, le=7, description="deep learning accelerator to run on; what it cannot do the GPU does"
    )
    effort: int = Field(default=3, ge=0, le=5, description="TensorRT's builder optimisation level: longer, faster")

    @property
    def workspace_bytes(self) -> int:
        """The limit in bytes."""
        return self.workspace_mb * _MIB
