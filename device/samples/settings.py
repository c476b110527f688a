"""Section `[samples]` of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SampleSettings(BaseModel):
    """Which pictures are kept for labelling, how many, and in how much space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: Literal["auto", "on", "off"] = Field(
        default="auto", description="keep pictures of uncertain and of some accepted items; auto: where events are kept"
    )
    accepted_share: float = Field(
        default=0.05, ge=0, le=1, description="part of the accepted decisions whose picture is kept, drawn at random"
    )
    per_minute: int = Field(default=4, ge=1, description="most pictures of each kind (uncertain, drawn) in a minute")
    per_hour: int = Field(default=60, ge=1, description="… in an hour")
    per_day: int = Field(default=300, ge=1, description="… in a day")
    min_difference: float = Field(
        default=0.12, ge=0, le=1, description="a picture that differs less than this from a kept one is not kept"
    )
    max_mb: float = Field(default=500.0, ge=1, description="most space for pictures; the oldest make room")
    min_free_mb: float = Field(default=500.0, ge=0, description="with less free disk than this none is kept")
    max_side: int = Field(default=1280, ge=64, description="longer side of a kept picture, pixels, at most")
    quality: int = Field(default=92, ge=50, le=100, description="JPEG quality")
