"""From a camera frame of 1280 × 720 to a network input: smartbin's way, stage by stage, and the usual ways.

With real photos also how often a bundle is right behind each way: speed that costs accuracy is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.laps import WARM_UP, Laps, timed
from benchmarks.paced_camera import HEIGHT, WIDTH, fill_frame
from benchmarks.photos import accuracy, agreement, photos_below
from benchmarks.report import LATENCY_COLUMNS, Measurement, Table
from smartbin.brightness import correct
from smartbin.bundle import read_bundle
from smartbin.images import BgrImage, read_image
from smartbin.lowlight import dim
from smartbin.preprocess import PreprocessSpec, centre_crop, shrink_frame, to_input
from smartbin.runtime import open_classifier

WHOLE, BLOB, USUAL = "smartbin to_input", "cv2.dnn.blobFromImage", "PIL + torchvision"


@dataclass(frozen=True, slots=True)
class PreprocessOptions:
    """`photos` None: a drawn frame, and no accuracy. `size` None: that of the bundle."""

    bundle: Path
    photos: Path | None
    names: Path | None
    limit: int
    size: int | None
    threads: int
    laps: Laps


def run_preprocess(options: PreprocessOptions) -> Table:
    """Time all ways on one frame, in interleaved laps; torchvision only where it is installed. Blocks."""
    paths = photos_below(options.photos, options.limit, options.names) if options.photos is not None else []
    bundled = read_bundle(options.bundle).manifest.preprocess
    spec = bundled if options.size is None else bundled.model_copy(update={"size": options.size})
    frame = fill_frame(read_image(paths[0])) if paths else _drawn_frame()
    samples = options.laps.run({name: timed(way) for name, way in _ways(frame, spec).items()})
    notes = [
        f"{WIDTH} × {HEIGHT} to {spec.size} × {spec.size}, all ways in turn, one process; OpenCV with "
        f"{cv2.getNumThreads()} threads.",
        "The usual ways end in normalised float32 planes and leave brightness alone; smartbin's ends in bytes, since "
        f"the graph normalises. {BLOB} samples bilinearly and aliases.",
    ]
    answers: dict[str, list[str]] = {}
    if paths and spec == bundled:
        answers, classes = _answers(options, paths, spec)
        right = {name: accuracy(found, paths, classes) for name, found in answers.items()}
        notes.append(_accuracy_note(right, options, len(paths)))
    else:
        right = {}
        notes.append("no accuracy: it takes --photos, and the bundle's own size.")
    measured = tuple(Measurement.of(name, values, WARM_UP, right.get(name)) for name, values in samples.items())
    whole_ms = measured[0].latency.p50_ms
    rows = []
    for item in measured:
        same = agreement(answers[item.name], answers[WHOLE]) if item.name in answers else None
        rows.append((item.name, *item.cells, item.latency.p50_ms / whole_ms, item.accuracy, same))
    columns = ("way", *LATENCY_COLUMNS, f"times {WHOLE}", "accuracy", "same answers")
    return Table("preprocess", columns, tuple(rows), tuple(notes), measured)


def _ways(frame: BgrImage, spec: PreprocessSpec) -> dict[str, Callable[[], object]]:
    """smartbin's first, then its stages, then the others."""
    dark = dim(frame, 1 / 8, np.random.default_rng(0))

    def small_of(image: BgrImage) -> BgrImage:
        return shrink_frame(centre_crop(image, spec.max_aspect, spec.crop), spec.size)

    small, small_dark = small_of(frame), small_of(dark)
    ways: dict[str, Callable[[], object]] = {
        WHOLE: lambda: to_input(frame, spec),
        f"{WHOLE}, dark frame": lambda: to_input(dark, spec),
        "stage: crop, resize": lambda: small_of(frame),
        "stage: brightness, in band": lambda: correct(small, spec.brightness),
        "stage: brightness, dark": lambda: correct(small_dark, spec.brightness),
        "stage: BGR to RGB": lambda: cv2.cvtColor(small, cv2.COLOR_BGR2RGB),
        BLOB: lambda: _blob(frame, spec.size, 1 / 127.5, 127.5),
    }
    try:
        from benchmarks.usual_way import normalise, resize_and_crop, to_pil
    except ImportError:
        return ways
    crop, planes = resize_and_crop(spec.size), normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return {**ways, USUAL: lambda: planes(crop(to_pil(frame)))}


def _answers(
    options: PreprocessOptions, paths: Sequence[Path], spec: PreprocessSpec
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """What the bundle says of every photo behind every whole way, and its classes.

    The ways' geometry alone differs: each gives bytes [S, S, 3] RGB, which the graph normalises.
    """
    ways: dict[str, Callable[[BgrImage], NDArray[np.uint8]]] = {
        WHOLE: lambda image: to_input(image, spec).image,
        BLOB: lambda image: _blob(image, spec.size, 1.0, 0.0)[0].transpose(1, 2, 0).astype(np.uint8),
    }
    try:
        from benchmarks.usual_way import resize_and_crop, to_pil
    except ImportError:
        pass
    else:
        crop = resize_and_crop(spec.size)
        ways[USUAL] = lambda image: np.asarray(crop(to_pil(image)), np.uint8)
    classifier = open_classifier(read_bundle(options.bundle), threads=options.threads)
    try:
        answers: dict[str, list[str]] = {name: [] for name in ways}
        for path in paths:
            image = read_image(path)
            for name, way in ways.items():
                best = classifier.classify(np.ascontiguousarray(way(image)[None])).probabilities.argmax()
                answers[name].append(classifier.classes[int(best)])
        return answers, classifier.classes
    finally:
        classifier.close()


def _accuracy_note(right: dict[str, float | None], options: PreprocessOptions, photos: int) -> str:
    manifest = read_bundle(options.bundle).manifest
    ours = right[WHOLE]
    gaps = [
        f"{(ours - theirs) * 100:+.1f} points against {name}"
        for name, theirs in right.items()
        if name != WHOLE and ours is not None and theirs is not None
    ]
    told = f": {', '.join(gaps)}" if gaps else ""
    return (
        f"accuracy: {manifest.name} {manifest.precision} on {photos} photos as they are, behind each way{told}; it was "
        f"trained behind {WHOLE}."
    )


def _drawn_frame() -> BgrImage:
    """Gradients with noise, uint8 [720, 1280, 3] BGR."""
    across = np.linspace(60, 220, WIDTH, dtype=np.float32)[None, :, None]
    down = np.linspace(0.6, 1.0, HEIGHT, dtype=np.float32)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 4, (HEIGHT, WIDTH, 3))
    return np.clip(across * down + noise, 0, 255).astype(np.uint8)


def _blob(frame: BgrImage, size: int, scale: float, mean: float) -> NDArray[np.float32]:
    """What OpenCV offers for this: float32 [1, 3, S, S], the shorter side to `size`, the central square."""
    return np.asarray(
        cv2.dnn.blobFromImage(frame, scale, (size, size), (mean, mean, mean), swapRB=True, crop=True), np.float32
    )
