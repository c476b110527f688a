"""The daemon's pipeline over a folder of photos, one after the other: frames per second and time by stage.

No camera thread and no sinks: what is measured is reading a photo and everything from the frame to the decision.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from benchmarks.photos import photos_below
from benchmarks.report import Cell, Table
from device.decision import Verdicts
from device.frame import Frame
from device.frame_judges import FrameJudge
from device.pipeline import Pipeline
from smartbin.bundle import Bundle, read_bundle
from smartbin.classifier import Classifier
from smartbin.images import read_image
from smartbin.latency import StageTimer
from smartbin.runtime import open_classifier

_WARM_UP = 3


def run_folder(bundle_path: Path, photos: Path, *, limit: int | None, threads: int | None) -> Table:
    """Put every photo below `photos` (at most `limit`) through the pipeline at batch 1. Blocks."""
    paths = photos_below(photos, limit)
    bundle = read_bundle(bundle_path)
    classifier = open_classifier(bundle, threads=threads)
    runtime = classifier.runtime
    try:
        _sort(classifier, bundle, paths[:_WARM_UP], StageTimer())
        timer = StageTimer(keep=len(paths))
        start_s = time.perf_counter()
        decided = _sort(classifier, bundle, paths, timer)
        seconds = time.perf_counter() - start_s
    finally:
        classifier.close()
    rows: list[tuple[Cell, ...]] = [
        (name, item.count, item.p50_ms, item.p95_ms, item.max_ms) for name, item in timer.summaries().items()
    ]
    rows.append(("photos per second", len(paths), len(paths) / seconds, None, None))
    counts = ", ".join(f"{count} {name}" for name, count in sorted(decided.items()))
    used = "ONNX Runtime's own choice of threads" if threads is None else f"threads: {threads}"
    return Table(
        "folder",
        ("stage", "number", "p50 ms", "p95 ms", "max ms"),
        tuple(rows),
        (
            f"{bundle.manifest.name} {bundle.manifest.precision} on {runtime}, {used}; decided: {counts}.",
            "brightness: crop, resize and brightness; frame: everything but reading the file.",
        ),
    )


def _sort(classifier: Classifier, bundle: Bundle, paths: list[Path], timer: StageTimer) -> Counter[str]:
    """How many decisions of each kind."""
    manifest = bundle.manifest
    verdicts = Verdicts(manifest.classes, manifest.thresholds, bins={}, uncertain_bin="trash")
    pipeline = Pipeline(classifier, manifest.preprocess, FrameJudge(verdicts), None, timer)
    decided: Counter[str] = Counter()
    for number, path in enumerate(paths):
        with timer.stage("read and decode"):
            image = read_image(path)
        decision = pipeline.step(Frame(image, number, float(number), "folder")).decision
        decided[decision.kind if decision else "none"] += 1
    return decided
