"""Exposure, gain and white balance of a V4L2 camera: set through the driver, and read back from it.

OpenCV sets format, size and rate; of the controls it knows too few, and its units differ between versions. Numbers and
structures are those of linux/v4l2-controls.h and linux/videodev2.h, part of the kernel's fixed interface.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from typing import Protocol

from device.camera_settings import Answer, CameraSettings

AUTO_WHITE_BALANCE = 0x0098090C
GAIN = 0x00980913
AUTO_GAIN = 0x00980912
POWER_LINE = 0x00980918
WHITE_BALANCE_K = 0x0098091A
AUTO_EXPOSURE = 0x009A0901
EXPOSURE_TIME = 0x009A0902  # in units of 100 microseconds
DYNAMIC_RATE = 0x009A0903  # whether auto-exposure may lower the frame rate

_MANUAL_EXPOSURE, _APERTURE_PRIORITY, _FULL_AUTO = 1, 3, 0
_POWER_LINE_OF_HZ = {50: 1, 60: 2}
_GET, _SET = 0xC008561B, 0xC008561C  # VIDIOC_G_CTRL, VIDIOC_S_CTRL
_CONTROL = struct.Struct("=Ii")


class Controls(Protocol):
    """The controls of one camera, by number."""

    def get(self, control: int) -> int | None:
        """The value; None if the camera lacks the control."""
        ...

    def set(self, control: int, value: int) -> int | None:
        """Ask for a value, and read back what became of it; None if the camera lacks the control."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


class V4l2Controls:
    """Controls through the device file. The camera may be streaming elsewhere meanwhile."""

    def __init__(self, device: str, ioctl: Callable[[int, int, bytes], bytes] = fcntl.ioctl) -> None:
        """Open the device file; `OSError` if that cannot be done."""
        self._ioctl = ioctl
        self._file: int | None = os.open(device, os.O_RDWR | os.O_NONBLOCK)

    def get(self, control: int) -> int | None:
        """Ask the driver."""
        return self._call(_GET, control, 0)

    def set(self, control: int, value: int) -> int | None:
        """Tell the driver, and ask it. A value that it refuses leaves what was there."""
        self._call(_SET, control, value)
        return self.get(control)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _call(self, request: int, control: int, value: int) -> int | None:
        if self._file is None:
            return None
        try:
            answer = self._ioctl(self._file, request, _CONTROL.pack(control, value))
        except OSError:  # EINVAL: no such control; ERANGE, EBUSY: not now
            return None
        return int(_CONTROL.unpack(answer)[1])


def open_controls(device: str) -> Controls | None:
    """The controls of a device; None where it has no file that can be opened."""
    try:
        return V4l2Controls(device)
    except OSError:
        return None


def ask_controls(settings: CameraSettings, controls: Controls, fps: float = 0.0) -> list[Answer]:
    """Set what is configured, everything else to automatic; what became of it. `fps`: the camera's rate, 0 unknown.

    That automatic control is not to be had is told only where it was asked for.
    """
    return [
        *_ask_exposure(settings, controls, fps),
        *_ask_gain(settings, controls),
        *_ask_white_balance(settings, controls),
        *_ask_power_line(settings, controls),
    ]


def _ask_exposure(settings: CameraSettings, controls: Controls, fps: float) -> list[Answer]:
    wish = settings.exposure_ms
    if isinstance(wish, float):
        longest_ms = 1000 / fps if fps > 0 and settings.hold_rate else wish
        asked, given = round(wish * 10), int(min(wish, longest_ms) * 10)
        controls.set(AUTO_EXPOSURE, _MANUAL_EXPOSURE)
        return [_answer("exposure", controls.set(EXPOSURE_TIME, given), asked, 0.1, " ms")]
    answers = []
    if controls.set(AUTO_EXPOSURE, _APERTURE_PRIORITY) not in (None, _APERTURE_PRIORITY):
        controls.set(AUTO_EXPOSURE, _FULL_AUTO)
    if isinstance(wish, tuple):
        got = "no limits but the frame rate" if settings.hold_rate else "no limits"
        answers.append(Answer("exposure", f"{wish[0]:g} to {wish[1]:g} ms", got, taken=False))
    if settings.hold_rate and (got_dynamic := controls.set(DYNAMIC_RATE, 0)) is not None:
        held = got_dynamic == 0
        answers.append(Answer("frame rate", "held in dim light", "held" if held else "free to fall", taken=held))
    return answers


def _ask_gain(settings: CameraSettings, controls: Controls) -> list[Answer]:
    wish = settings.gain
    if wish is None:
        controls.set(AUTO_GAIN, 1)
        return []
    if isinstance(wish, tuple):
        return [Answer("gain", f"{wish[0]:g} to {wish[1]:g}", "no limits", taken=False)]
    controls.set(AUTO_GAIN, 0)
    return [_answer("gain", controls.set(GAIN, round(wish)), round(wish))]


def _ask_white_balance(settings: CameraSettings, controls: Controls) -> list[Answer]:
    answers = []
    if settings.white_balance not in (None, "auto"):
        answers.append(Answer("white balance", str(settings.white_balance), "white_balance_k only", taken=False))
    wish = settings.white_balance_k
    if wish is None:
        controls.set(AUTO_WHITE_BALANCE, 1)
        return answers
    controls.set(AUTO_WHITE_BALANCE, 0)
    return [*answers, _answer("white balance", controls.set(WHITE_BALANCE_K, wish), wish, 1, " K", tolerance=100)]


def _ask_power_line(settings: CameraSettings, controls: Controls) -> list[Answer]:
    wish = settings.power_line_hz
    if wish is None:
        return []
    taken = controls.set(POWER_LINE, _POWER_LINE_OF_HZ[wish]) == _POWER_LINE_OF_HZ[wish]
    return [Answer("power line", f"{wish} Hz", f"{wish} Hz" if taken else "something else", taken=taken)]


def _answer(
    name: str, got: int | None, wish: int, unit: float = 1, unit_name: str = "", *, tolerance: int = 0
) -> Answer:
    """A number that was asked for, and the one that is there now."""
    said = "no such control" if got is None else f"{got * unit:g}{unit_name}"
    return Answer(name, f"{wish * unit:g}{unit_name}", said, taken=got is not None and abs(got - wish) <= tolerance)
