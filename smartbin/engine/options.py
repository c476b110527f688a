"""How an engine is built and where it is kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_MIB = 1 << 20


class EngineOptions(BaseModel):
    """How an engine is built; every field is part of its key in the cache."""

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


class EngineSettings(EngineOptions):
    """Section `[engine]` of the configuration: `smartbin engine build` builds what `smartbin run` looks for."""

    folder: Path | None = Field(default=None, description="where engines are kept; default ~/.cache/smartbin/engines")
    cuda_graph: bool = Field(default=True, description="queue the work of a frame as one CUDA graph")

    @property
    def built(self) -> EngineOptions:
        """Those that the engine depends on."""
        return EngineOptions(**self.model_dump(include=set(EngineOptions.model_fields)))
