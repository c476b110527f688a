"""What a live camera is asked for, and what it made of that: format, size, rate and controls are set and read back.

Called while a camera is opened: `ask` before its first picture, `look` with the picture that it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from device.camera_settings import Answer, CameraMode
from device.gstreamer import csi_exposure, csi_rate
from device.sources import CsiSource, DeviceSource, RtspSource
from device.v4l2 import Controls, ask_controls
from smartbin.images import BgrImage

_SLOW = 0.75  # a measured rate below this part of the wanted one is worth a word


class VideoCapture(Protocol):
    """The part of `cv2.VideoCapture` that is used; tests give their own."""

    def isOpened(self) -> bool: ...  # noqa: D102, N802 - OpenCV's name

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]: ...  # noqa: D102

    def set(self, prop: int, value: float) -> bool: ...  # noqa: D102

    def get(self, prop: int) -> float: ...  # noqa: D102

    def release(self) -> None: ...  # noqa: D102


def ask(
    source: DeviceSource | CsiSource | RtspSource,
    capture: VideoCapture,
    mode: CameraMode,
    controls_of: Callable[[str], Controls | None],
) -> list[Answer]:
    """Ask for format, size, rate and exposure, and read back what the camera made of it.

    A pipeline has said it all when it was opened; what it could not say is refused here.
    """
    if isinstance(source, CsiSource):
        usb = (("format", mode.camera.format), ("white_balance_k", mode.camera.white_balance_k))
        answers = [Answer(name, str(wish), "its own: that is for USB", taken=False) for name, wish in usb if wish]
        return [*answers, *csi_exposure(mode)[1]]
    answers = _ask_for_pictures(capture, mode)
    controls = controls_of(source.device) if isinstance(source, DeviceSource) else None
    if controls is not None:
        try:
            answers += ask_controls(mode.camera, controls, capture.get(cv2.CAP_PROP_FPS))
        finally:
            controls.close()
    return answers


def look(
    source: DeviceSource | CsiSource | RtspSource,
    mode: CameraMode,
    image: BgrImage,
    fps: float,
    measured_fps: float | None,
    answers: Sequence[Answer],
) -> list[Answer]:
    """The answers of `ask`, corrected by what the picture itself says: its size, and the rate at which pictures came.

    `fps` is what the camera says of itself. A network camera's rate is its own affair.
    """
    refused = {answer.name for answer in answers if not answer.taken}
    sizes = (("width", mode.width, image.shape[1]), ("height", mode.height, image.shape[0]))
    found = [
        Answer(name, str(wish), str(got), taken=False)
        for name, wish, got in sizes
        if wish is not None and wish != got and name not in refused
    ]
    wanted = csi_rate(mode) if isinstance(source, CsiSource) else fps
    holds = not isinstance(source, RtspSource) and mode.camera.hold_rate
    if holds and measured_fps is not None and measured_fps < _SLOW * wanted:
        found.append(Answer("frame rate", f"{wanted:g} a second", f"{measured_fps:.1f}", taken=False))
    corrected = {answer.name for answer in found}
    return [*(answer for answer in answers if answer.name not in corrected), *found]


def _ask_for_pictures(capture: VideoCapture, mode: CameraMode) -> list[Answer]:
    """Format first: it decides which sizes there are, and the size which rates."""
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    answers: list[Answer] = []
    wished = mode.camera.format
    if wished is not None:
        capture.set(cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*wished)))
    wishes = (
        ("width", cv2.CAP_PROP_FRAME_WIDTH, mode.width),
        ("height", cv2.CAP_PROP_FRAME_HEIGHT, mode.height),
        ("fps", cv2.CAP_PROP_FPS, mode.fps),
    )
    for _, prop, wish in wishes:
        if wish is not None:
            capture.set(prop, float(wish))
    if wished is not None:
        got_format = _four_characters(capture.get(cv2.CAP_PROP_FOURCC))
        answers.append(Answer("format", wished, got_format, taken=got_format == wished))
    for name, prop, wish in wishes:
        if wish is not None:
            got = capture.get(prop)
            answers.append(Answer(name, f"{wish:g}", f"{got:g}", taken=abs(got - wish) <= 0.5))
    return answers


def _four_characters(code: float) -> str:
    """The name of a pixel format, as OpenCV packs it."""
    letters = int(code).to_bytes(4, "little", signed=int(code) < 0)
    return letters.decode("ascii", "replace").strip("\0 ") or "unknown"
