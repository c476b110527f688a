"""A video file as a camera: every frame, in the video's own time."""

from __future__ import annotations

from pathlib import Path

import cv2

from device.frame import Frame
from device.opencv_camera import OpenCapture, as_bgr, open_capture
from smartbin.errors import CameraError


class VideoFileCamera:
    """A video file, frame by frame; `captured_s` runs with the video's own frame rate."""

    live = False

    def __init__(self, path: Path, start_s: float = 0.0, *, opener: OpenCapture = open_capture) -> None:
        """Open; `CameraError` if it is no video that OpenCV can read."""
        self._path, self._seq, self._start_s = path, 0, start_s
        self._capture = opener(str(path), cv2.CAP_FFMPEG, [])
        if not self._capture.isOpened():  # an OpenCV without FFmpeg may still have another reader
            self._capture.release()
            self._capture = opener(str(path), cv2.CAP_ANY, [])
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                "cannot read the video",
                where=path,
                expected="a video that OpenCV can decode",
                fix="`smartbin doctor` says what this OpenCV can; H.264 in MP4 works nearly everywhere",
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 1000 else 30.0

    def read(self) -> Frame | None:
        """The next frame, None at the end."""
        done, image = self._capture.read()
        if not done or image is None:
            if self._seq == 0:
                raise CameraError("the video has no frame that can be decoded", where=self._path)
            return None
        self._seq += 1
        captured_s = self._start_s + (self._seq - 1) / self.fps
        return Frame(as_bgr(image), self._seq, captured_s, str(self._path), origin=f"{self._path}#{self._seq}")

    def close(self) -> None:
        """Release the file."""
        self._capture.release()
