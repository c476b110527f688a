"""Golden inputs of a bundle and the answers that were measured at the export: a device can check its own runtime.

`golden.npz` in the bundle: `image` uint8 [K, S, S, 3], network inputs of K validation photos; `probabilities` float32
[K, C] and `energy` float32 [K], the answers of the exported file by ONNX Runtime on a CPU. Read without pickle.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartbin.bundle import GOLDEN_FILE, Bundle
from smartbin.classifier import Classifier, ClassifierOutput
from smartbin.errors import BundleError, InferenceError

TOLERANCES = {"fp32": 0.01, "fp16": 0.05, "int8": 0.15}
"""Most that a probability may be off by precision: kernels add in other orders, and int8 steps are coarse."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs uint8 [K, S, S, 3] and the answers expected of them."""

    images: NDArray[np.uint8]
    answers: ClassifierOutput


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a self-test found."""

    photos: int
    same_answers: int
    largest_difference: float
    """Of a probability."""
    tolerance: float


def pack_golden(golden: Golden) -> bytes:
    """The content of `golden.npz`."""
    file = io.BytesIO()
    answers = golden.answers
    np.savez_compressed(file, image=golden.images, probabilities=answers.probabilities, energy=answers.energy)
    return file.getvalue()


def read_golden(bundle: Bundle) -> Golden | None:
    """The golden inputs of a bundle, None if it has none; `BundleError` if they do not fit it."""
    path, manifest = bundle.path / GOLDEN_FILE, bundle.manifest
    if GOLDEN_FILE not in manifest.files:
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            golden = Golden(arrays["image"], ClassifierOutput(arrays["probabilities"], arrays["energy"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError("the golden inputs cannot be read", where=path, found=error, fix="export it again") from error
    size, classes = manifest.preprocess.size, len(manifest.classes)
    found = tuple(
        (str(array.dtype), array.shape[1:])
        for array in (golden.images, golden.answers.probabilities, golden.answers.energy)
    )
    expected = (("uint8", (size, size, 3)), ("float32", (classes,)), ("float32", ()))
    lengths = {len(golden.images), len(golden.answers.probabilities), len(golden.answers.energy)}
    if found != expected or len(lengths) != 1 or 0 in lengths:
        raise BundleError("the golden inputs do not fit the bundle", where=path, found=found, expected=expected)
    return golden


def self_test(bundle: Bundle, classifier: Classifier) -> SelfTest | None:
    """Ask the classifier for the golden answers, one by one; None if the bundle has none.

    `InferenceError` if a probability is further off than the precision explains: this runtime does not run this model.
    """
    golden = read_golden(bundle)
    if golden is None:
        return None
    found = [classifier.classify(image[None]).probabilities for image in golden.images]
    probabilities, expected = np.concatenate(found), golden.answers.probabilities
    off = float(np.abs(probabilities - expected).max())
    tolerance = TOLERANCES[bundle.manifest.precision]
    if not off <= tolerance:  # neither is a NaN
        raise InferenceError(
            "the model does not give the answers that it gave at its export",
            where=f"{bundle.path} on {classifier.runtime}",
            found=f"a probability off by {off:.3f}",
            expected=f"at most {tolerance:g} for {bundle.manifest.precision}",
            fix="try another runtime (SMARTBIN_RUNTIME__RUNTIME=onnxruntime-cpu); if that agrees, this one or its "
            "driver is at fault",
        )
    same = int((probabilities.argmax(axis=1) == expected.argmax(axis=1)).sum())
    return SelfTest(len(expected), same, off, tolerance)
