"""Fixtures for all tests: where the real photos and starting weights are, and photos drawn on the spot."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import smartbin  # noqa: F401 - first: it tells ONNX Runtime to send nothing, before a test imports that

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.relative_to(REPOSITORY.parent)} is not here")
    return path


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded photos and stored events are kept in folders of the tests, also by the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _hangups_reach_children() -> Iterator[None]:
    """Under `nohup` the processes that tests start would ignore SIGHUP, too; a handler is not handed on to them."""
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def trashnet() -> Path:
    """The real photos, in class folders; skips where they are absent."""
    return _existing(SHARED / "data" / "trashnet")


@pytest.fixture(scope="session")
def starting_weights() -> Path:
    """The folder of starting weights; skips where it is absent."""
    return _existing(SHARED / "weights")


def draw_photo(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A photo of a kind: a blurred blob on a bright ground, uint8 [H, W, 3] BGR; the seed chooses hue and place."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 205, np.uint8)
    centre = (int(rng.integers(width // 3, 2 * width // 3)), int(rng.integers(height // 3, 2 * height // 3)))
    colour = tuple(int(value) for value in rng.integers(20, 190, 3))
    cv2.ellipse(image, centre, (width // 4, height // 5), float(rng.integers(0, 180)), 0, 360, colour, -1)
    noise = rng.normal(0, 4, image.shape)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def photo_folder(tmp_path: Path) -> Callable[..., Path]:
    """A factory: `photo_folder({"glass": 4, "paper": 3})` writes JPEGs into class folders and returns the root."""

    def write(counts: dict[str, int], *, name: str = "photos", height: int = 48, width: int = 64) -> Path:
        root = tmp_path / name
        for index, (label, count) in enumerate(counts.items()):
            (root / label).mkdir(parents=True)
            for number in range(count):
                image = draw_photo(1000 * index + number, height, width)
                cv2.imwrite(str(root / label / f"{label}{number + 1}.jpg"), image)
        return root

    return write
