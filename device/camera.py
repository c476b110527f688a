"""The seam between the daemon and whatever takes pictures, and the fake that ships with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from device.frame import Frame
from smartbin.errors import CameraError


class Camera(Protocol):
    """An open camera or recording. One thread reads and closes it."""

    @property
    def live(self) -> bool:
        """Whether it runs on by itself: live frames may be dropped, recorded ones may not."""
        ...

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a recording. Blocks.

        `CameraError` when the camera is lost, `BadFrameError` when one frame of a live one cannot be used.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file. May be called twice."""
        ...


class ScriptedCamera:
    """A camera that plays a script: a `Frame` is returned, an error is raised, and the end of the script is the end.

    For tests, demos and benchmarks. A live one is lost at the end of its script.
    """

    def __init__(self, script: Iterable[Frame | Exception], *, live: bool = False) -> None:
        self._script = iter(script)
        self._live = live
        self.closed = False

    @property
    def live(self) -> bool:
        """As given."""
        return self._live

    def read(self) -> Frame | None:
        """The next entry of the script."""
        if self.closed:
            raise CameraError("the camera is closed", where="scripted camera")
        entry = next(self._script, None)
        if isinstance(entry, Exception):
            raise entry
        if entry is None and self._live:
            raise CameraError("the camera delivers no more frames", where="scripted camera")
        return entry

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
