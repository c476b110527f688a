"""The seam between the daemon and the runtimes: images in, probabilities and energies out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smartbin.errors import InferenceError


@dataclass(frozen=True, slots=True)
class ClassifierOutput:
    """Of a batch of N images: `probabilities` float32 [N, C] and `energy` float32 [N]."""

    probabilities: NDArray[np.float32]
    energy: NDArray[np.float32]


class Classifier(Protocol):
    """A loaded model. Not thread-safe: one thread calls it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        ...

    @property
    def size(self) -> int:
        """The side S of the square input, pixels."""
        ...

    @property
    def runtime(self) -> str:
        """What runs it, for example `onnxruntime-cpu`."""
        ...

    passed_over: tuple[str, ...]
    """Why no faster runtime of this machine runs it, a sentence each; empty: none is faster, or this one was asked for.
    """

    def classify(self, batch: NDArray[np.uint8]) -> ClassifierOutput:
        """Classify uint8 [N, S, S, 3] RGB. Blocks. `InferenceError` if the batch does not fit or the runtime fails."""
        ...

    def close(self) -> None:
        """Free what it holds. May be called twice."""
        ...


def check_batch(batch: NDArray[np.uint8], size: int) -> None:
    """`InferenceError` unless `batch` is uint8 [N >= 1, size, size, 3]."""
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[0] < 1 or batch.shape[1:] != (size, size, 3):
        raise InferenceError(
            "the input does not fit the model",
            found=f"{batch.dtype} {list(batch.shape)}",
            expected=f"uint8 [N, {size}, {size}, 3] RGB",
            fix="make inputs with smartbin.preprocess.to_input and the bundle's own PreprocessSpec",
        )


class Shaped:
    """What every classifier says of its network: its classes and the size of its input."""

    def __init__(self, classes: tuple[str, ...], size: int) -> None:
        self._classes, self._size = classes, size
        self.passed_over: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self._classes

    @property
    def size(self) -> int:
        """The side S of the square input, pixels."""
        return self._size


class FunctionClassifier(Shaped):
    """A classifier that asks a function: uint8 [N, S, S, 3] in, logits [N, C] out. For tests, demos and benchmarks."""

    def __init__(
        self, classes: tuple[str, ...], size: int, function: Callable[[NDArray[np.uint8]], NDArray[np.floating]]
    ) -> None:
        super().__init__(classes, size)
        self._function = function
        self.closed = False

    @property
    def runtime(self) -> str:
        """Always `function`."""
        return "function"

    def classify(self, batch: NDArray[np.uint8]) -> ClassifierOutput:
        """Softmax and energy of the function's logits."""
        check_batch(batch, self._size)
        logits = np.asarray(self._function(batch), np.float64)
        if logits.shape != (len(batch), len(self._classes)):
            raise InferenceError(
                "the function's logits do not fit",
                found=list(logits.shape),
                expected=[len(batch), len(self._classes)],
            )
        top = logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits - top)
        total = exponentials.sum(axis=1, keepdims=True)
        energy = -(np.log(total) + top)[:, 0]
        return ClassifierOutput((exponentials / total).astype(np.float32), energy.astype(np.float32))

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
