"""Photos with a caption each as a block of a report, such as those that a network got wrong or was least sure of."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageOps

from smartbin.images import BgrImage, LabelledPhoto, read_image
from train.report.document import Gallery, Photo
from train.report.predictions import PhotoPrediction

_COLUMNS = 6
_THUMBNAIL = 256  # pixels, the longer side
_QUALITY = 78
_CELL, _SHOWN, _GAP = (200, 190), (192, 150), 4  # pixels of the sheet
_LETTERS = 34


@dataclass(frozen=True, slots=True)
class Shown:
    """A photo for a gallery. What stands in front of ": " in its caption is the first of two lines on the sheet."""

    path: Path
    caption: str
    alt: str


def gallery(name: str, shown: Sequence[tuple[LabelledPhoto, PhotoPrediction]]) -> Gallery:
    """The photos with what they are and were taken for; `name`.png holds them all. `ImageError` if one is damaged."""
    return photo_gallery(
        name,
        [Shown(photo.path, _caption(photo, prediction), _alt(photo, prediction)) for photo, prediction in shown],
    )


def photo_gallery(name: str, shown: Sequence[Shown]) -> Gallery:
    """Photos in their order; `name`.png holds them all. `ImageError` if one is damaged."""
    photos = [Photo(_jpeg(_thumbnail(read_image(photo.path))), photo.alt, photo.caption) for photo in shown]
    return Gallery(name, _sheet(photos), tuple(photos))


def _alt(photo: LabelledPhoto, prediction: PhotoPrediction) -> str:
    taken = "rightly" if prediction.label == prediction.predicted else "wrongly"
    return f"{photo.path.name}, {prediction.label}, {taken} taken for {prediction.predicted}"


def _caption(photo: LabelledPhoto, prediction: PhotoPrediction) -> str:
    return f"{photo.path.name}: {prediction.label} → {prediction.predicted} {prediction.confidence:.0%}"


def _sheet(photos: Sequence[Photo]) -> bytes:
    """One PNG with all photos and their captions, for Markdown."""
    rows = max(1, math.ceil(len(photos) / _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * _CELL[0], rows * _CELL[1]), "white")
    pen = ImageDraw.Draw(sheet)
    for place, photo in enumerate(photos):
        x, y = place % _COLUMNS * _CELL[0] + _GAP, place // _COLUMNS * _CELL[1] + _GAP
        sheet.paste(ImageOps.contain(Image.open(io.BytesIO(photo.jpeg)), _SHOWN), (x, y))
        name, _, verdict = photo.caption.partition(": ")
        for line, text in enumerate((name, verdict)):
            drawn = text.replace("→", "->")  # Pillow's own font has no arrow
            pen.text((x, y + _SHOWN[1] + 2 + 14 * line), drawn[:_LETTERS], fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _thumbnail(image: BgrImage) -> BgrImage:
    factor = min(1.0, _THUMBNAIL / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(image: BgrImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
