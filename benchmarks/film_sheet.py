"""A film as one picture, for people who want to see what was played."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.item_films import Film
from smartbin.images import BgrImage

_COLUMNS, _ROWS = 8, 3
_SIZE = (240, 180)


def draw_sheet(film: Film) -> BgrImage:
    """24 frames of a film, evenly, each with its time and what is there: uint8 [540, 1920, 3] BGR."""
    count = int(film.seconds * film.fps)
    wanted = set(np.linspace(0, count - 1, _COLUMNS * _ROWS).astype(int).tolist())
    shown = []
    for number, frame in enumerate(film.frames()):
        if number in wanted:
            small = cv2.resize(frame.image, _SIZE, interpolation=cv2.INTER_AREA)
            text = f"{frame.captured_s:.1f} s {frame.truth or ''}"
            cv2.putText(small, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 255), 1, cv2.LINE_AA)
            shown.append(small)
    shown += [np.zeros_like(shown[0])] * (_COLUMNS * _ROWS - len(shown))
    lines = [np.hstack(shown[row * _COLUMNS : (row + 1) * _COLUMNS]) for row in range(_ROWS)]
    return np.asarray(np.vstack(lines), np.uint8)
