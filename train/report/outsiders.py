"""Pictures of what is not in any class, to see whether a network says "unsure" about them. The report measures on them.

Three kinds, always the same pictures in the same order: natural pictures that scikit-image, scikit-learn and matplotlib
ship (five views each), procedural textures, and rendered items of other things. They are few originals in many views,
so figures on them carry more doubt than their number says. None is trained on, and no threshold is chosen by them.

Left out of what the libraries ship: what a class of the garbage data set does name (coins, printed pages), and pictures
that are masks or drawings of a few colours. Licences: scikit-image says of each of its pictures that it is in the
public domain, CC0 or without known restrictions (`skimage/data/_fetchers.py`), but for `motorcycle_left`, which is of
the Middlebury 2014 stereo benchmark; scikit-learn's `china` and `flower` are CC BY 2.0 by danielbuechele and vultilion;
matplotlib's `grace_hopper` is a photo of the United States Navy, in the public domain. They are read where the
libraries lie; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np

from smartbin.images import BgrImage, read_image
from train.report.outside_items import ITEMS, render_item
from train.report.outside_textures import TEXTURES, draw_texture

OutsiderKind: TypeAlias = Literal["natural", "texture", "rendered"]
OUTSIDER_KINDS: tuple[OutsiderKind, ...] = ("natural", "texture", "rendered")

HEIGHT, WIDTH = 240, 320
"""Pixels; 4:3, as the photos of the garbage data set."""
VIEWS, TEXTURE_VIEWS, ITEM_VIEWS = 5, 10, 8
_MIN_SIDE = 0.45  # of a natural picture: the smallest crop
_FOLDERS = (
    (
        "skimage",
        "data",
        (
            "astronaut.png brick.png camera.png cell.png chelsea.png clock_motion.png coffee.png grass.png gravel.png "
            "hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png retina.jpg rocket.jpg"
        ),
    ),
    ("sklearn", "datasets/images", "china.jpg flower.jpg"),
    ("matplotlib", "mpl-data/sample_data", "grace_hopper.jpg"),
)


@dataclass(frozen=True, slots=True)
class Outsider:
    """A picture of something else, uint8 [H, W, 3] BGR; `name` says of what and which view."""

    kind: OutsiderKind
    name: str
    image: BgrImage


def outsiders() -> Iterator[Outsider]:
    """All of them, one after another. Natural ones only of libraries that are installed (`missing_libraries`)."""
    for path in natural_files():
        image = read_image(path)
        for view, picture in enumerate(_views(image, path.stem)):
            yield Outsider("natural", f"{path.stem} {view}", picture)
    for name in TEXTURES:
        for view in range(TEXTURE_VIEWS):
            yield Outsider("texture", f"{name} {view}", draw_texture(name, view, HEIGHT, WIDTH))
    for name in ITEMS:
        for view in range(ITEM_VIEWS):
            yield Outsider("rendered", f"{name} {view}", render_item(name, view, HEIGHT, WIDTH))


def count_outsiders() -> int:
    """How many pictures `outsiders` yields."""
    return len(natural_files()) * VIEWS + len(TEXTURES) * TEXTURE_VIEWS + len(ITEMS) * ITEM_VIEWS


def natural_files() -> list[Path]:
    """The natural pictures that are on this machine, in order."""
    found = [folder / name for folder, names in _libraries() if folder is not None for name in names]
    return [path for path in found if path.is_file()]


def missing_pictures() -> list[str]:
    """Natural pictures that are not here, because a library is not installed or no longer ships them."""
    wanted = [name for _, _, names in _FOLDERS for name in names.split()]
    here = {path.name for path in natural_files()}
    return [name for name in wanted if name not in here]


@lru_cache(maxsize=1)
def _libraries() -> Sequence[tuple[Path | None, list[str]]]:
    """Folder and names of each library's pictures; found without importing it, which would take seconds."""
    folders = []
    for library, below, names in _FOLDERS:
        spec = find_spec(library)
        root = Path(spec.origin).parent / below if spec and spec.origin else None
        folders.append((root, names.split()))
    return folders


def _views(image: BgrImage, name: str) -> Iterator[BgrImage]:
    """The whole picture, then crops of random place and size, some of them mirrored; all of one size."""
    rng = np.random.default_rng(list(name.encode()))
    yield _fit(image)
    height, width = image.shape[:2]
    for _ in range(VIEWS - 1):
        share = rng.uniform(_MIN_SIDE, 0.9)
        rows, columns = round(height * share), round(width * share)
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        crop = image[top : top + rows, left : left + columns]
        yield _fit(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _fit(image: BgrImage) -> BgrImage:
    """Centre crop to 4:3 and resize."""
    height, width = image.shape[:2]
    columns, rows = min(width, height * WIDTH // HEIGHT), min(height, width * HEIGHT // WIDTH)
    top, left = (height - rows) // 2, (width - columns) // 2
    crop = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    return np.asarray(cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
