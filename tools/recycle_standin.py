"""A stand-in for the recycle data set, where it is not at hand: darkened photos in its npz's exact format.

`python tools/recycle_standin.py PHOTOS --out standin`, with the garbage data set in PHOTOS, writes
`standin/recycle_data_shuffled.npz` (128 px, 1/16 to 1/4 of the light, see `smartbin/lowlight.py`) out of every second
training photo of four classes, and `standin/garbage` with all others, so that no photo is in both. What is measured on
it says how the code works, not what the real data set would give. Then:

    python train/run.py data fetch recycle --file standin/recycle_data_shuffled.npz --to standin
    python train/run.py study models --data-root standin --models resnet50 --data-sets garbage recycle combined
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)

from smartbin.classes import GARBAGE_CLASSES, RECYCLE_TO_GARBAGE  # noqa: E402
from smartbin.images import list_images, read_image  # noqa: E402
from smartbin.lowlight import dim  # noqa: E402
from train.datasets.sources import published_names  # noqa: E402

SIDE = 128
DARKEST, BRIGHTEST = 1 / 16, 1 / 4
_TEST = 5  # every fifth


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python tools/recycle_standin.py", description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="the garbage data set: one folder of photos per class")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True)
    write_standin(given.photos, given.out)
    return 0


def write_standin(photos: Path, out: Path) -> None:
    """Divide the photos among the npz and `garbage`; the same photos give the same files."""
    rng, published = np.random.default_rng(0), published_names("train")
    rows: list[tuple[np.ndarray, int]] = []
    for label in GARBAGE_CLASSES:
        folders = [index for index, name in enumerate(RECYCLE_TO_GARBAGE) if RECYCLE_TO_GARBAGE[name] == label]
        (out / "garbage" / label).mkdir(parents=True)
        training = 0
        for path in list_images(photos / label):
            training += path.name in published
            if folders and path.name in published and training % 2:
                image = cv2.resize(read_image(path), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
                light = DARKEST * (BRIGHTEST / DARKEST) ** rng.random()
                rows.append((dim(image, light, rng)[..., ::-1], folders[training // 2 % len(folders)]))
            else:
                shutil.copy(path, out / "garbage" / label)
    labels = np.array([label for _, label in rows])
    test = np.concatenate([np.flatnonzero(labels == label)[::_TEST] for label in np.unique(labels)])
    train = np.setdiff1d(np.arange(len(rows)), test)
    arrays: dict[str, np.ndarray] = {}
    for part, numbers in (("train", train), ("test", test)):
        numbers = rng.permutation(numbers)
        arrays[f"x_{part}"] = np.stack([rows[number][0] for number in numbers])
        arrays[f"y_{part}"] = labels[numbers, None].astype(np.int64)
    np.savez(out / "recycle_data_shuffled.npz", **arrays)
    print(f"{len(train)} training and {len(test)} test pictures in {out / 'recycle_data_shuffled.npz'}")


if __name__ == "__main__":
    raise SystemExit(main())
