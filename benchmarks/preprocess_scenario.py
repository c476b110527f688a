"""From a camera frame of 1280 × 720 to a network input: smartbin's way, stage by stage, and the usual ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.laps import WARM_UP, run_laps, timed
from benchmarks.report import LATENCY_COLUMNS, Measurement, Table
from smartbin.brightness import correct
from smartbin.images import BgrImage, list_images, read_image
from smartbin.lowlight import dim
from smartbin.preprocess import PreprocessSpec, centre_crop, resize_square, shrink_frame, to_input

FRAME_WIDTH, FRAME_HEIGHT = 1280, 720


def run_preprocess(photos: Path | None, *, size: int, laps: int) -> Table:
    """Time all ways on one frame, in interleaved laps; torchvision only where it is installed."""
    frame = _camera_frame(photos)
    spec = PreprocessSpec(size=size)
    dark = dim(frame, 1 / 8, np.random.default_rng(0))
    cropped = np.ascontiguousarray(centre_crop(frame, spec.max_aspect, spec.crop))
    small, small_dark = resize_square(cropped, size), resize_square(centre_crop(dark, spec.max_aspect, spec.crop), size)
    whole = "smartbin to_input"
    candidates: dict[str, Callable[[], object]] = {
        whole: lambda: to_input(frame, spec),
        f"{whole}, dark frame": lambda: to_input(dark, spec),
        "stage: crop, resize": lambda: shrink_frame(centre_crop(frame, spec.max_aspect, spec.crop), size),
        "stage: brightness, in band": lambda: correct(small, spec.brightness),
        "stage: brightness, dark": lambda: correct(small_dark, spec.brightness),
        "stage: BGR to RGB": lambda: cv2.cvtColor(small, cv2.COLOR_BGR2RGB),
        "cv2.dnn.blobFromImage": lambda: _blob(frame, size),
    }
    if (usual := _torchvision_way(size)) is not None:
        candidates["PIL + torchvision"] = lambda: usual(frame)
    samples = run_laps({name: timed(way) for name, way in candidates.items()}, laps=laps)
    measured = tuple(Measurement.of(name, values, WARM_UP) for name, values in samples.items())
    whole_ms = measured[0].latency.p50_ms
    return Table(
        "preprocess",
        ("way", *LATENCY_COLUMNS, f"times {whole}"),
        tuple((item.name, *item.cells, item.latency.p50_ms / whole_ms) for item in measured),
        (
            f"{FRAME_WIDTH} × {FRAME_HEIGHT} to {size} × {size}, {laps} interleaved laps, one process; OpenCV with "
            f"{cv2.getNumThreads()} threads.",
            "The usual ways end in normalised float32 planes and leave brightness alone; smartbin's ends in bytes, "
            "since the graph normalises. blobFromImage samples bilinearly and aliases.",
        ),
        measured,
    )


def _camera_frame(photos: Path | None) -> BgrImage:
    """The first photo below `photos`, or drawn gradients, as a frame uint8 [720, 1280, 3] BGR."""
    paths = list_images(photos) if photos else []
    if paths:
        return np.asarray(cv2.resize(read_image(paths[0]), (FRAME_WIDTH, FRAME_HEIGHT)), np.uint8)
    across = np.linspace(60, 220, FRAME_WIDTH, dtype=np.float32)[None, :, None]
    down = np.linspace(0.6, 1.0, FRAME_HEIGHT, dtype=np.float32)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 4, (FRAME_HEIGHT, FRAME_WIDTH, 3))
    return np.clip(across * down + noise, 0, 255).astype(np.uint8)


def _blob(frame: BgrImage, size: int) -> object:
    return cv2.dnn.blobFromImage(frame, 1 / 127.5, (size, size), (127.5, 127.5, 127.5), swapRB=True, crop=True)


def _torchvision_way(size: int) -> Callable[[NDArray[np.uint8]], object] | None:
    """Resize, centre crop, to tensor, normalise: what a training script usually does; None without torchvision."""
    try:
        from PIL import Image
        from torchvision import transforms
    except ImportError:
        return None
    chain = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return lambda frame: chain(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)))
