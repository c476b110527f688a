"""Writes tests/golden: what the built-in bundle says of the built-in scene, frame by frame and item by item.

    python tools/make_golden.py

`scene_predictions.json` has one frame of each item, `sequence_decisions.json` the decisions on films of items that come
and go. Run it after the built-in bundle, the built-in scene, presence or the judge has changed on purpose, and read the
difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.film_kinds import films_of
from benchmarks.item_films import Film
from benchmarks.item_layers import Item, Layer, cut_from_ground, panel_bin, scene_bins
from benchmarks.sequences_scenario import play
from device.config import load_config
from device.scene import builtin_scene_path, read_story
from smartbin.bundle import builtin_bundle_path, read_bundle
from smartbin.images import read_image
from smartbin.prediction import Prediction, decide, predictions
from smartbin.preprocess import to_input
from smartbin.runtime import open_classifier

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "scene_predictions.json"
SEQUENCES = GOLDEN.with_name("sequence_decisions.json")
_VIEW = "view a at 1 of the light"


def resting_frames() -> dict[str, tuple[str, str]]:
    """Item to (file, true class): the third frame of each item's stay."""
    found: dict[str, list[tuple[str, str]]] = {}
    for frame in read_story(builtin_scene_path()).frames:
        if frame.phase == "staying" and frame.item is not None and frame.label is not None:
            found.setdefault(frame.item, []).append((frame.file, frame.label))
    return {item: frames[2] for item, frames in found.items()}


def predict(file: str) -> tuple[Prediction, str]:
    """The built-in bundle's prediction of a frame, and its verdict."""
    bundle = read_bundle(builtin_bundle_path())
    classifier = open_classifier(bundle, "onnxruntime-cpu", threads=1)
    prepared = to_input(read_image(builtin_scene_path() / file), bundle.manifest.preprocess)
    (prediction,) = predictions(classifier.classify(prepared.image[None]), classifier.classes)
    return prediction, decide(prediction, bundle.manifest.thresholds)


def golden_films() -> Iterator[Film]:
    """Rendered items in front of the view that they were rendered in, and the same pictures treated as photos are."""
    view = [staged for staged in scene_bins() if staged.name == _VIEW]
    yield next(films_of("half out and back", view, 2, 1))
    told = {frame.file: frame.view for frame in read_story(builtin_scene_path()).frames}
    pictures = {item: row for item, row in resting_frames().items() if told[row[0]] == "a"}
    items = [Item(truth, item, partial(_cut, item, file)) for item, (file, truth) in pictures.items()]
    yield next(films_of("gone for a moment", [panel_bin(0, items)], 2, 2))
    yield next(films_of("shadows pass, then an item", [panel_bin(1, items)], 1, 2))


def _cut(item: str, file: str) -> Layer:
    layer = cut_from_ground(item, read_image(builtin_scene_path() / file))
    assert layer is not None, "the scene has a plain ground"
    return layer


def decisions_on(film: Film) -> list[dict[str, object]]:
    """The built-in bundle's decisions on a film: a row for each visit, and one for each decision on nothing."""
    bundle = read_bundle(builtin_bundle_path())
    config = load_config(None, {"sinks.terminal": "off"})
    ledger = play(film, config, bundle, open_classifier(bundle, "onnxruntime-cpu", threads=1))
    rows: list[dict[str, object]] = [
        {
            "film": film.kind,
            "truth": fate.visit.label,
            "decisions": [
                [decision.kind, decision.label, round(decision.decided_s - fate.visit.full_s, 2)]
                for decision in fate.decisions
            ],
        }
        for fate in ledger.fates
    ]
    nothing = [{"film": film.kind, "truth": None, "decisions": [[one.kind]]} for one in ledger.nothing_there]
    return [*rows, *nothing]


def main() -> None:
    """Write the files and say how many are right."""
    rows = {}
    for item, (file, truth) in resting_frames().items():
        prediction, verdict = predict(file)
        rows[item] = {
            "file": file,
            "truth": truth,
            "label": prediction.label,
            "verdict": verdict,
            "probabilities": [round(value, 4) for value in prediction.probabilities],
        }
    GOLDEN.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    right = sum(row["label"] == row["truth"] for row in rows.values())
    print(f"{GOLDEN}: {right} of {len(rows)} right")
    played = [row for film in golden_films() for row in decisions_on(film)]
    SEQUENCES.write_text("[\n" + ",\n".join(" " + json.dumps(row) for row in played) + "\n]\n", encoding="utf-8")
    print(f"{SEQUENCES}: {len(played)} visits")


if __name__ == "__main__":
    main()
