"""`outputs.npz` of a run: logits and distances of validation, test and out-of-set pictures; the report is made from it.

Written by `train/finish.py` before the weights, read by the report. Plain arrays, never a pickle.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smartbin.atomic import write_bytes_atomic
from smartbin.errors import CheckpointError
from train.metrics import Outputs
from train.networks.feature_distance import FeatureSpace
from train.report.outsiders import OutsiderKind

OUTPUTS_FILE = "outputs.npz"


@dataclass(frozen=True, slots=True)
class Scored:
    """What a network says of labelled photos, and their distances [N] from the training photos, where it has any."""

    outputs: Outputs
    distances: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class OutsiderOutputs:
    """What it says of out-of-set pictures: logits [N, C], distances [N], kind and name of each."""

    logits: NDArray[np.float32]
    distances: NDArray[np.float32] | None
    kinds: tuple[OutsiderKind, ...]
    names: tuple[str, ...]

    @property
    def originals(self) -> tuple[str, ...]:
        """Of what each picture is a view: its name without the view's number."""
        return tuple(name.rsplit(" ", 1)[0] for name in self.names)


@dataclass(frozen=True, slots=True)
class RunOutputs:
    """Everything that `outputs.npz` holds."""

    val: Scored
    test: Scored | None = None
    outsiders: OutsiderOutputs | None = None
    space: FeatureSpace | None = None


def save_outputs(run: Path, outputs: RunOutputs) -> None:
    """Write `outputs.npz` into the run directory."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for part, scored in (("val", outputs.val), ("test", outputs.test)):
        if scored is not None:
            arrays[f"{part}_logits"], arrays[f"{part}_labels"] = scored.outputs.logits, scored.outputs.labels
            if scored.distances is not None:
                arrays[f"{part}_distances"] = scored.distances
    if (others := outputs.outsiders) is not None:
        arrays["outsider_logits"] = others.logits
        arrays["outsider_kinds"], arrays["outsider_names"] = np.asarray(others.kinds), np.asarray(others.names)
        if others.distances is not None:
            arrays["outsider_distances"] = others.distances
    if outputs.space is not None:
        arrays["feature_mean"], arrays["feature_directions"] = outputs.space.mean, outputs.space.directions
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes_atomic(run / OUTPUTS_FILE, buffer.getvalue())


def load_outputs(run: Path) -> RunOutputs:
    """Read `outputs.npz` of a run directory; `CheckpointError` if it is absent or damaged."""
    file = run / OUTPUTS_FILE
    try:
        with file.open("rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        val = _scored(arrays, "val")
        test = _scored(arrays, "test") if "test_logits" in arrays else None
        return RunOutputs(val, test, _outsiders(arrays), _space(arrays))
    except FileNotFoundError as error:
        raise CheckpointError(
            "the run has no outputs", where=run, expected=OUTPUTS_FILE, fix="train again; older runs did not keep them"
        ) from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError("a damaged file of a run", where=file, found=repr(error)) from error


def _scored(arrays: dict[str, NDArray[np.generic]], part: str) -> Scored:
    logits, labels = np.asarray(arrays[f"{part}_logits"], np.float32), np.asarray(arrays[f"{part}_labels"], np.int64)
    distances = _distances(arrays, part)
    if logits.ndim != 2 or labels.shape != (len(logits),) or (distances is not None and len(distances) != len(logits)):
        raise ValueError(f"{part}: logits {logits.shape}, labels {labels.shape}")
    return Scored(Outputs(logits, labels), distances)


def _outsiders(arrays: dict[str, NDArray[np.generic]]) -> OutsiderOutputs | None:
    if "outsider_logits" not in arrays:
        return None
    return OutsiderOutputs(
        logits=np.asarray(arrays["outsider_logits"], np.float32),
        distances=_distances(arrays, "outsider"),
        kinds=tuple(arrays["outsider_kinds"].tolist()),
        names=tuple(arrays["outsider_names"].tolist()),
    )


def _distances(arrays: dict[str, NDArray[np.generic]], part: str) -> NDArray[np.float32] | None:
    found = arrays.get(f"{part}_distances")
    return None if found is None else np.asarray(found, np.float32)


def _space(arrays: dict[str, NDArray[np.generic]]) -> FeatureSpace | None:
    if "feature_mean" not in arrays:
        return None
    return FeatureSpace(
        np.asarray(arrays["feature_mean"], np.float32), np.asarray(arrays["feature_directions"], np.float32)
    )
