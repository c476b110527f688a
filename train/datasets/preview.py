"""A contact sheet for the eye: photos, their cut-outs and scenes made of them. Command `train/run.py data preview`.

Per class three rows: photos; their cut-outs on magenta, or why there is none; scenes. What looks wrong here should
not be trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from smartbin.atomic import write_bytes_atomic
from smartbin.config import load_settings
from smartbin.images import BgrImage, LabelledPhoto, read_image
from train.augmentation.cutout import CutOut, Quality, cut_out
from train.augmentation.scenes import compose
from train.cli import png_file
from train.config import TrainConfig, default_data_root
from train.console import say
from train.datasets.photos import open_data

_CELL_HEIGHT, _CELL_WIDTH = 96, 128
_MAGENTA = (200, 80, 200)


@dataclass(frozen=True, slots=True)
class _Tried:
    photo: BgrImage
    item: CutOut | None
    quality: Quality


def preview_data(arguments: Sequence[str]) -> int:
    """Write the contact sheet as a PNG, and say how many of the photos shown could be cut out."""
    parser = argparse.ArgumentParser(prog="train/run.py data preview", description="Cut-outs and scenes, to look at.")
    parser.add_argument("data", metavar="DATA", help="name or folder of a data set")
    parser.add_argument("--data-root", type=Path, default=default_data_root(), help="where the named data sets are")
    parser.add_argument("--classes", default="auto", help="as in training")
    parser.add_argument("--split", default="auto", help="whose training photos to show, as in training")
    parser.add_argument("--columns", type=int, default=12, help="photos of each class (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="another seed shows other photos")
    parser.add_argument("--out", type=png_file, default=Path("preview.png"), help="PNG to write (default: preview.png)")
    known = parser.parse_args(arguments)
    if known.columns < 1:
        parser.error(f"--columns {known.columns}: must be 1 or more")
    settings = {name: getattr(known, name) for name in ("data", "data_root", "classes", "split")}
    data = open_data(load_settings(TrainConfig, None, {**settings, "min_photos": 3}))
    rng = np.random.default_rng(known.seed)
    rows = []
    for label in data.classes:
        photos = [photo for photo in data.train if photo.label == label]
        tried = _try(photos, min(known.columns, len(photos)), rng)
        good = [one.item for one in tried if one.item is not None]
        say(f"{label}: {len(good)} of {len(tried)} cut out")
        rows += [
            [one.photo for one in tried],
            [_cut_out_cell(one) for one in tried],
            [compose([good[int(i)] for i in rng.integers(len(good), size=rng.integers(1, 5))], rng) for _ in tried]
            if good
            else [],
        ]
    _, encoded = cv2.imencode(".png", np.vstack([_row(cells, known.columns) for cells in rows]))
    write_bytes_atomic(known.out, encoded.tobytes())
    say(f"written: {known.out}")
    return 0


def _try(photos: Sequence[LabelledPhoto], count: int, rng: np.random.Generator) -> list[_Tried]:
    images = [read_image(photos[int(index)].path) for index in rng.permutation(len(photos))[:count]]
    return [_Tried(image, *cut_out(image)) for image in images]


def _cut_out_cell(tried: _Tried) -> BgrImage:
    """The item on magenta, which no item has; without one, the figures that spoke against it."""
    cell = np.full((_CELL_HEIGHT, _CELL_WIDTH, 3), _MAGENTA, np.uint8)
    if tried.item is None:
        quality = tried.quality
        lines = (
            f"area {quality.area:.2f}",
            f"at border {quality.touching:.2f}",
            f"one piece {quality.main_piece:.2f}",
            f"solid {quality.solidity:.2f}",
            f"contrast {quality.contrast:.0f}",
        )
        for number, line in enumerate(lines):
            cv2.putText(cell, line, (4, 16 + 17 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0))
        return cell
    alpha = tried.item.alpha
    scale = min(_CELL_HEIGHT / alpha.shape[0], _CELL_WIDTH / alpha.shape[1])
    width, height = max(1, int(alpha.shape[1] * scale)), max(1, int(alpha.shape[0] * scale))
    small = cv2.resize(tried.item.image, (width, height), interpolation=cv2.INTER_AREA)
    share = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA)[..., None] / 255
    cell[:height, :width] = np.rint(share * small + (1 - share) * cell[:height, :width])
    return cell


def _row(cells: Sequence[BgrImage], columns: int) -> BgrImage:
    blank = np.full((_CELL_HEIGHT, _CELL_WIDTH, 3), 255, np.uint8)
    shown = [cv2.resize(cell, (_CELL_WIDTH, _CELL_HEIGHT), interpolation=cv2.INTER_AREA) for cell in cells]
    return np.hstack([*shown, *[blank] * (columns - len(shown))])
