"""What is asked of a camera beside its picture size, and what it answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator


def _read_span(value: object) -> object:
    """Refuse here what is no span, so that the error names the key and not one of the two types."""
    parts = value if isinstance(value, (list, tuple)) and len(value) == 2 else [value]
    numbers = [float(part) for part in parts if isinstance(part, (int, float)) and not isinstance(part, bool)]
    if len(numbers) < len(parts) or min(numbers) < 0 or numbers != sorted(numbers):
        raise ValueError("a number, not below 0, or [lowest, highest]")
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


Span: TypeAlias = Annotated[float | tuple[float, float], BeforeValidator(_read_span)]
"""A fixed value, or the lowest and the highest that the camera may choose."""

WhiteBalance: TypeAlias = Literal[
    "auto", "incandescent", "fluorescent", "warm-fluorescent", "daylight", "cloudy-daylight", "twilight", "shade"
]


class CameraSettings(BaseModel):
    """[source.camera]: what a USB or CSI camera is asked for. Left out: automatic, or the camera's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str | None = Field(
        default=None, pattern=r"^[A-Z0-9]{4}$", description="USB: pixel format, MJPG or YUYV; MJPG is faster over USB 2"
    )
    hold_rate: bool = Field(
        default=True, description="USB: auto-exposure may not make the exposure longer than a frame in dim light"
    )
    exposure_ms: Span | None = Field(
        default=None, description="exposure time: fixed, or (CSI) [shortest, longest] of the automatic one"
    )
    gain: Span | None = Field(
        default=None, description="gain: fixed, in the USB camera's own unit, or (CSI) [lowest, highest] factor"
    )
    white_balance_k: int | None = Field(default=None, ge=1000, le=20000, description="USB: fixed, in kelvin")
    white_balance: WhiteBalance | None = Field(default=None, description="CSI: auto, or what the light is")
    power_line_hz: Literal[50, 60] | None = Field(default=None, description="USB: lamps flicker with twice of it")
    settle_s: float = Field(
        default=1.0, ge=0, le=30, description="after opening, wait at most so long for a steady brightness"
    )

    @field_validator("exposure_ms")
    @classmethod
    def _check_exposure(cls, value: Span | None) -> Span | None:
        if value is not None and (value[0] if isinstance(value, tuple) else value) == 0:
            raise ValueError("must be above 0")
        return value


class RtspSettings(BaseModel):
    """[source.rtsp]: how a network camera is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Literal["auto", "gstreamer", "ffmpeg"] = Field(
        default="auto",
        description="what reads the stream; auto: GStreamer where OpenCV has it and it works, else FFmpeg",
    )
    transport: Literal["tcp", "udp"] = Field(
        default="tcp", description="tcp: a lost packet is late; udp: it is a smeared picture"
    )
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="without an answer for so long, it is lost")
    latency_ms: int = Field(default=0, ge=0, le=5000, description="GStreamer: how long packets are put in order")


@dataclass(frozen=True, slots=True)
class CameraMode:
    """All that is asked of a camera; None leaves the camera's own."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    camera: CameraSettings = field(default_factory=CameraSettings)
    rtsp: RtspSettings = field(default_factory=RtspSettings)


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing that was asked, and what the camera made of it, both as text."""

    name: str
    asked: str
    got: str
    taken: bool

    def __str__(self) -> str:
        return f"{self.name} {self.got}" if self.taken else f"asked for {self.name} {self.asked}, it gives {self.got}"


def refused(answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """What the camera did not take."""
    return tuple(answer for answer in answers if not answer.taken)
