"""`smartbin classify`: judges photos on disk, in batches, however many there are."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.console import Console
from rich.text import Text

from device.bundles import choose_bundle
from device.config import load_config
from smartbin.brightness import Exposure, LightState, light_state
from smartbin.bundle import Bundle
from smartbin.classifier import Classifier
from smartbin.errors import ImageError, SmartbinError, drop_stdout
from smartbin.images import list_images, read_image
from smartbin.prediction import Prediction, decide, predictions, probability_text
from smartbin.preprocess import NetworkInput, stack_inputs, to_input
from smartbin.runtime import open_classifier
from smartbin.wording import counted

BATCH = 8
_PATH_CELLS = 44
_STYLES = {"accepted": "green", "uncertain": "yellow", "too_dark": "magenta", "too_bright": "magenta"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What was made of one photo; `error` says why one could not be read, and then the rest is None."""

    path: str
    prediction: Prediction | None = None
    decision: str | None = None
    exposure: Exposure | None = None
    error: str | None = None


def classify(options: argparse.Namespace) -> int:
    """Judge the photos named; 0 if all could be read, 1 if some could not."""
    cv2.setNumThreads(1)
    config = load_config(None, {f"runtime.{name}": getattr(options, name) for name in ("bundle", "runtime", "threads")})
    bundle = choose_bundle(config.runtime.bundle, config.bundles)
    classifier = open_classifier(bundle, config.runtime.runtime, config.runtime.threads, config.engine)
    try:
        answers = classify_photos(find_photos(options.photos, sys.stdin), bundle, classifier)
        try:
            unreadable = _tell(answers, bundle.manifest.classes, as_json=options.json)
        except BrokenPipeError:  # `smartbin classify … | head`: the reader has gone
            drop_stdout()
            return 0
    finally:
        classifier.close()
    return 1 if unreadable else 0


def find_photos(named: Sequence[str], stdin: Iterable[str]) -> Iterator[Path]:
    """The photos meant by the command line: files as they are, folders at any depth, `-` for paths on `stdin`."""
    for name in named:
        if name == "-":
            for line in stdin:
                if line.strip():
                    yield from _expand(Path(line.rstrip("\r\n")))
        else:
            yield from _expand(Path(name))


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from list_images(path)
    else:
        yield path


def classify_photos(
    photos: Iterable[Path], bundle: Bundle, classifier: Classifier, batch: int = BATCH
) -> Iterator[Answer]:
    """One `Answer` a photo, in order; holds at most one batch of network inputs in memory.

    An unreadable photo is an answer with an error. `InferenceError` if the network itself fails.
    """
    waiting: list[tuple[str, NetworkInput | str]] = []
    for path in photos:
        try:
            waiting.append((str(path), to_input(read_image(path), bundle.manifest.preprocess)))
        except ImageError as error:
            waiting.append((str(path), f"{error.what}: {error.found}" if error.found is not None else error.what))
        if len(waiting) >= batch:
            yield from _judge(waiting, bundle, classifier)
            waiting = []
    yield from _judge(waiting, bundle, classifier)


def _judge(
    waiting: Sequence[tuple[str, NetworkInput | str]], bundle: Bundle, classifier: Classifier
) -> Iterator[Answer]:
    manifest = bundle.manifest
    inputs = [item for _, item in waiting if isinstance(item, NetworkInput)]
    found = iter(predictions(classifier.classify(stack_inputs(inputs)), manifest.classes) if inputs else ())
    for path, item in waiting:
        if isinstance(item, str):
            yield Answer(path, error=item)
            continue
        prediction = next(found)
        light: LightState = light_state(item.exposure, manifest.preprocess.brightness)
        decision = decide(prediction, manifest.thresholds) if light == "ok" else light
        yield Answer(path, prediction, decision, item.exposure)


def _tell(answers: Iterable[Answer], classes: tuple[str, ...], *, as_json: bool) -> int:
    """Print the answers as they come; the number of unreadable ones."""
    show = _show_json if as_json else _make_table_row(Console())
    unreadable = count = 0
    counts: dict[str, int] = {}
    for answer in answers:
        count += 1
        if answer.error is not None:
            unreadable += 1
            print(f"error: {answer.path}: {answer.error}", file=sys.stderr)
        else:
            counts[answer.decision or ""] = counts.get(answer.decision or "", 0) + 1
        if as_json or answer.error is None:
            show(answer, classes)
    if not count:
        raise SmartbinError("no photos", expected="photos, folders of photos, or - with paths on stdin")
    if not as_json:
        parts = [f"{number} {decision.replace('_', ' ')}" for decision, number in sorted(counts.items())]
        parts += [f"{unreadable} unreadable"] if unreadable else []
        Console().print(Text(f"{counted(count, 'photo')}: {', '.join(parts)}", style="bold"))
    return unreadable


def _show_json(answer: Answer, classes: tuple[str, ...]) -> None:
    if answer.prediction is None or answer.exposure is None:
        record: dict[str, object] = {"path": answer.path, "error": answer.error}
    else:
        prediction, exposure = answer.prediction, answer.exposure
        record = {
            "path": answer.path,
            "label": prediction.label,
            "confidence": round(prediction.confidence, 4),
            "decision": answer.decision,
            "probabilities": {
                name: round(value, 4) for name, value in zip(classes, prediction.probabilities, strict=True)
            },
            "energy": round(prediction.energy, 4),
            "exposure": {
                "mean_luma": round(exposure.mean_luma, 4),
                "clipped_fraction": round(exposure.clipped_fraction, 4),
                "gamma": exposure.gamma,
            },
        }
    print(json.dumps(record, ensure_ascii=False), flush=True)


def _make_table_row(console: Console) -> Callable[[Answer, tuple[str, ...]], None]:
    """Rows of a table that is printed as it grows: thousands of photos need not wait for the last."""
    header = (
        f"{'photo':<{_PATH_CELLS}}  {'label':<12} {'sure':>5}  {'decision':<10} {'second':<18} {'luma':>5} {'gamma':>5}"
    )
    started = False

    def row(answer: Answer, classes: tuple[str, ...]) -> None:
        nonlocal started
        if not started:
            started = True
            console.print(Text(header, style="bold"), soft_wrap=True)
        assert answer.prediction is not None
        assert answer.exposure is not None
        ranked = sorted(zip(answer.prediction.probabilities, classes, strict=True), reverse=True)
        path = answer.path if len(answer.path) <= _PATH_CELLS else "…" + answer.path[1 - _PATH_CELLS :]
        style = _STYLES[answer.decision or "uncertain"]
        line = Text(f"{path:<{_PATH_CELLS}}  ")
        sure = probability_text(answer.prediction.confidence)
        line.append(f"{answer.prediction.label:<12} {sure:>5}  ", style="bold " + style)
        line.append(f"{(answer.decision or '').replace('_', ' '):<10} ", style=style)
        line.append(f"{ranked[1][1]:<12} {probability_text(ranked[1][0]):>5} ", style="dim")
        line.append(f"{answer.exposure.mean_luma:>5.2f} {answer.exposure.gamma:>5.2f}", style="dim")
        console.print(line, soft_wrap=True)

    return row
