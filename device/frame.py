"""A picture on its way from the camera to the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from smartbin.errors import ImageError
from smartbin.images import BgrImage

BadFrameReason: TypeAlias = Literal["empty", "channels", "size", "torn"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture: uint8 [H, W, 3] BGR, its number, and when it was taken.

    `captured_s` is monotonic time. Recorded sources (scene, file, folder) count it in the recording's own time, so that
    the decisions on them do not depend on how fast the machine is. A change of `source` means another view: the empty
    bin is then learned anew. `origin` is the file it came from; `truth` is what is in it, where the source knows that.
    """

    image: BgrImage
    seq: int
    captured_s: float
    source: str
    origin: str | None = None
    truth: str | None = None


class BadFrameError(ImageError):
    """One frame of a live camera that cannot be used; the camera itself goes on. `reason` is what it is counted as."""

    def __init__(
        self,
        what: str,
        reason: BadFrameReason,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
    ) -> None:
        super().__init__(what, where=where, found=found, expected=expected)
        self.reason: BadFrameReason = reason
