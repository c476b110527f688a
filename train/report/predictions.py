"""`predictions.csv` of a run: what the network said about every validation photo."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smartbin.errors import CheckpointError
from smartbin.images import LabelledPhoto
from train.metrics import Outputs

PREDICTIONS_FILE = "predictions.csv"
_COLUMNS = ("path", "label", "predicted", "confidence")


@dataclass(frozen=True, slots=True)
class PhotoPrediction:
    """A photo, its true class and the likeliest one with its probability; `path` is `source/folder/file`."""

    path: str
    label: str
    predicted: str
    confidence: float

    @property
    def is_mistake(self) -> bool:
        """Whether the likeliest class is the wrong one."""
        return self.label != self.predicted


def predictions_csv(
    names: Sequence[str], photos: Sequence[LabelledPhoto], outputs: Outputs, classes: Sequence[str]
) -> str:
    """A line per photo: its `source/folder/file`, label, predicted, confidence, and the probability of every class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"p({name})" for name in classes)])
    for name, photo, row in zip(names, photos, outputs.probabilities, strict=True):
        best = int(row.argmax())
        writer.writerow([name, photo.label, classes[best], f"{row[best]:.6f}", *(f"{value:.6f}" for value in row)])
    return text.getvalue()


def read_predictions(run: Path) -> list[PhotoPrediction]:
    """The predictions in a run directory; `CheckpointError` if the file is absent or damaged."""
    file = run / PREDICTIONS_FILE
    try:
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
        return [PhotoPrediction(row["path"], row["label"], row["predicted"], float(row["confidence"])) for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError("cannot read the run's predictions", where=file, found=repr(error)) from error
