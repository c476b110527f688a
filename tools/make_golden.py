"""Writes tests/golden/scene_predictions.json: what the built-in bundle says of one frame of each item of the scene.

    python tools/make_golden.py

Run it after the built-in bundle or the built-in scene has changed on purpose, and read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path

from device.scene import builtin_scene_path, read_story
from smartbin.bundle import builtin_bundle_path, read_bundle
from smartbin.images import read_image
from smartbin.prediction import Prediction, decide, predictions
from smartbin.preprocess import to_input
from smartbin.runtime import open_classifier

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "scene_predictions.json"


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


def main() -> None:
    """Write the file and say how many are right."""
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


if __name__ == "__main__":
    main()
