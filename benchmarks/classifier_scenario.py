"""Bundles, and torch where a run is given, side by side on the same photos: latency, throughput, size, agreement."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.laps import run_laps
from benchmarks.photos import photos_below
from benchmarks.report import Cell, Table
from smartbin.bundle import read_bundle
from smartbin.errors import ConfigError
from smartbin.images import read_image
from smartbin.latency import LatencySummary, summarise
from smartbin.ort_classifier import OrtClassifier
from smartbin.preprocess import PreprocessSpec, stack_inputs, to_input

BATCHES = (1, 8)
#: Photos that agreement is measured on.
_AGREEMENT_PHOTOS = 200


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that classifies uint8 [N, S, S, 3] RGB into scores [N, C], the best of which is its answer."""

    name: str
    threads: int
    spec: PreprocessSpec
    classes: tuple[str, ...]
    size_bytes: int
    load_ms: float
    scores: Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def run_classifier(
    bundles: Sequence[Path], run: Path | None, photos: Path, *, threads: Sequence[int], laps: int
) -> Table:
    """Time every candidate with every number of threads, in interleaved laps. Blocks for minutes."""
    candidates = [candidate for count in threads for candidate in _open_all(bundles, run, count)]
    if not candidates:
        raise ConfigError(
            "nothing to compare", where="classifier", fix="give --bundle DIR (one or more) and, for torch, --run RUN"
        )
    paths = photos_below(photos, _AGREEMENT_PHOTOS)
    inputs = {text: _read(paths, spec) for text, spec in {_spec_key(item): item.spec for item in candidates}.items()}
    answers = [_answers(item, inputs[_spec_key(item)]) for item in candidates]
    timed = {batch: _time(candidates, inputs, batch, laps if batch == 1 else max(3, laps // 4)) for batch in BATCHES}
    rows = []
    for index, item in enumerate(candidates):
        one, eight = (timed[batch][_key(item, index)] for batch in BATCHES)
        reference = next(number for number, other in enumerate(candidates) if other.threads == item.threads)
        ratio = timed[1][_key(candidates[reference], reference)].p50_ms / one.p50_ms
        row: tuple[Cell, ...] = (
            item.name, item.threads, one.p50_ms, one.p95_ms, ratio, eight.p50_ms, eight.p95_ms,
            BATCHES[1] * 1000 / eight.p50_ms, item.size_bytes / 1e6, item.load_ms,
            float((answers[index] == answers[0]).mean()),
        )  # fmt: skip
        rows.append(row)
    first = candidates[0].name
    return Table("classifier", _COLUMNS, tuple(rows), (
        f"ratio: how many times faster than `{first}` at batch 1, p50, same threads; agreement: with its classes.",
        f"{len(paths)} photos below `{photos.name}`; {laps} laps at batch 1, each lap runs every candidate once.",
        "ONNX Runtime as the daemon runs it: its threads do not spin between two frames.",
    ))  # fmt: skip


_COLUMNS = (
    "candidate", "threads", "b1 p50 ms", "b1 p95 ms", "ratio", "b8 p50 ms", "b8 p95 ms",
    "images/s", "MB", "load ms", "agreement"
)  # fmt: skip


def _open_all(bundles: Sequence[Path], run: Path | None, threads: int) -> list[Candidate]:
    """Torch first, where there is a run: it is what the others are compared with."""
    return [*([_open_torch(run, threads)] if run else []), *(_open_bundle(path, threads) for path in bundles)]


def _open_bundle(path: Path, threads: int) -> Candidate:
    start_s = time.perf_counter()
    bundle = read_bundle(path)
    classifier = OrtClassifier.open(bundle, device="cpu", threads=threads)
    load_ms = (time.perf_counter() - start_s) * 1000
    manifest = bundle.manifest
    return Candidate(
        name=f"{manifest.name} {manifest.precision} ({classifier.runtime})",
        threads=threads,
        spec=manifest.preprocess,
        classes=manifest.classes,
        size_bytes=bundle.model_path.stat().st_size,
        load_ms=load_ms,
        scores=lambda batch: classifier.classify(batch).probabilities,
    )


def _open_torch(path: Path, threads: int) -> Candidate:
    """The checkpoint in torch eager mode, float32, with the scaling that the bundle has inside."""
    try:
        import torch
    except ImportError as error:
        raise ConfigError("--run needs torch", found=str(error), fix="pip install 'smartbin[train]'") from error
    from train.checkpoint import MODEL_FILE, load_run

    start_s = time.perf_counter()
    run = load_run(path)
    network = run.build_model()
    load_ms = (time.perf_counter() - start_s) * 1000
    mean, std = torch.tensor(run.mean).view(1, 3, 1, 1), torch.tensor(run.std).view(1, 3, 1, 1)

    def scores(batch: NDArray[np.uint8]) -> NDArray[np.floating]:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            planes = torch.from_numpy(batch).permute(0, 3, 1, 2).float().div_(255.0)
            logits: NDArray[np.floating] = network((planes - mean) / std).numpy()
            return logits

    size = (path / MODEL_FILE).stat().st_size
    return Candidate(
        f"{run.architecture} fp32 (torch eager)", threads, run.preprocess, run.classes, size, load_ms, scores
    )


def _answers(candidate: Candidate, inputs: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Class name of each photo, so that candidates with other orders of classes can be compared."""
    parts = [candidate.scores(inputs[start : start + 8]).argmax(axis=1) for start in range(0, len(inputs), 8)]
    names: NDArray[np.str_] = np.asarray(candidate.classes, np.str_)
    return np.asarray(names[np.concatenate(parts)], np.str_)


def _time(
    candidates: Sequence[Candidate], inputs: dict[str, NDArray[np.uint8]], batch: int, laps: int
) -> dict[str, LatencySummary]:
    """Latency of one batch a lap; every candidate gets its own walk over the photos, so none is served from a cache."""

    def lap_of(item: Candidate) -> Callable[[], object]:
        images = inputs[_spec_key(item)]
        starts = itertools.cycle(range(0, max(1, len(images) - batch + 1), batch))
        return lambda: item.scores(np.take(images, range(start := next(starts), start + batch), axis=0, mode="wrap"))

    samples = run_laps({_key(item, index): lap_of(item) for index, item in enumerate(candidates)}, laps=laps)
    return {name: summarise(values) for name, values in samples.items()}


def _key(candidate: Candidate, index: int) -> str:
    return f"{index} {candidate.name}"


def _spec_key(candidate: Candidate) -> str:
    return candidate.spec.model_dump_json()


def _read(paths: Sequence[Path], spec: PreprocessSpec) -> NDArray[np.uint8]:
    return stack_inputs([to_input(read_image(path), spec) for path in paths])
