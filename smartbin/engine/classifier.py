"""The TensorRT classifier: one engine, one context, memory that is allocated once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smartbin.bundle import ENERGY_NAME, INPUT_NAME, PROBABILITIES_NAME, Manifest
from smartbin.classifier import ClassifierOutput, Shaped, check_batch
from smartbin.engine.callbacks import make_log
from smartbin.engine.gpu import Bytes, Gpu
from smartbin.engine.trt import ICudaEngine, IExecutionContext, Runtime, TensorRt
from smartbin.errors import InferenceError

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor of the engine with its memory on both sides, for the largest batch."""

    host: Bytes
    device: int
    bytes_per_image: int

    def host_of(self, batch: int) -> Bytes:
        return self.host[: batch * self.bytes_per_image]


class TensorRtClassifier(Shaped):
    """Runs an engine. Not thread-safe. A frame allocates nothing but its answer of a few dozen bytes."""

    def __init__(
        self, trt: TensorRt, plan: bytes, manifest: Manifest, max_batch: int, gpu: Gpu, *, graph: bool = True
    ) -> None:
        """Load the engine and allocate for batches up to `max_batch`. `gpu` is closed with the classifier.

        `graph` records the work for a size of batch as a CUDA graph when it comes a second time in a row.
        `InferenceError` if the engine cannot be loaded or is not of this bundle.
        """
        super().__init__(manifest.classes, manifest.preprocess.size)
        self._max_batch, self._gpu, self._use_graphs = max_batch, gpu, graph
        self._log = make_log(trt)  # both must outlive the engine
        runtime = trt.Runtime(self._log)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise InferenceError(
                "TensorRT cannot load the engine",
                found="; ".join(self._log.problems) or "no reason given",
                fix=_REBUILD,
            )
        _check_tensors(trt, engine, self._size, len(self._classes), max_batch)
        context = engine.create_execution_context()
        if context is None:
            raise InferenceError(
                "TensorRT has no memory for the engine's context", found="; ".join(self._log.problems) or None,
                fix="stop what else uses the GPU's memory",
            )  # fmt: skip
        self._loaded: tuple[Runtime, ICudaEngine, IExecutionContext] | None = (runtime, engine, context)
        self._image = self._allocate(INPUT_NAME, self._size * self._size * 3)
        self._probabilities = self._allocate(PROBABILITIES_NAME, len(self._classes) * _FLOAT_BYTES)
        self._energy = self._allocate(ENERGY_NAME, _FLOAT_BYTES)
        self._shaped_for = 0
        """Images in the batch that the context was last shaped for."""
        self._graphs: dict[int, Callable[[], None]] = {}

    @classmethod
    def open(
        cls, trt: TensorRt, plan: Path, manifest: Manifest, max_batch: int, gpu: Gpu, *, graph: bool = True
    ) -> TensorRtClassifier:
        """Read the plan from a file; the rest is as for the constructor. The GPU is closed if that fails."""
        try:
            return cls(trt, plan.read_bytes(), manifest, max_batch, gpu, graph=graph)
        except BaseException:
            gpu.close()
            raise

    @property
    def runtime(self) -> str:
        """Always `tensorrt`."""
        return "tensorrt"

    def classify(self, batch: NDArray[np.uint8]) -> ClassifierOutput:
        """Classify uint8 [N, S, S, 3] RGB, in pieces of the engine's largest batch. Blocks.

        `InferenceError` if the batch does not fit or CUDA fails; after the latter the process must end.
        """
        check_batch(batch, self._size)
        probabilities = np.empty((len(batch), len(self._classes)), np.float32)
        energy = np.empty(len(batch), np.float32)
        for start in range(0, len(batch), self._max_batch):
            piece = batch[start : start + self._max_batch]
            self._run(piece)
            end, count = start + len(piece), len(piece)
            probabilities[start:end] = self._probabilities.host_of(count).view(np.float32).reshape(count, -1)
            energy[start:end] = self._energy.host_of(count).view(np.float32)
        return ClassifierOutput(probabilities, energy)

    def close(self) -> None:
        """Free the engine, then the memory. May be called twice."""
        self._graphs.clear()
        self._loaded = None
        self._gpu.close()

    @property
    def _context(self) -> IExecutionContext:
        if self._loaded is None:
            raise InferenceError("the classifier is closed", fix="open it again")
        return self._loaded[2]

    def _allocate(self, name: str, bytes_per_image: int) -> _Tensor:
        whole = self._max_batch * bytes_per_image
        tensor = _Tensor(self._gpu.host_memory(whole), self._gpu.device_memory(whole), bytes_per_image)
        if not self._context.set_tensor_address(name, tensor.device):
            raise InferenceError("TensorRT refuses an address", where=name, found="; ".join(self._log.problems))
        return tensor

    def _run(self, images: NDArray[np.uint8]) -> None:
        """Leave the answers in the host memory of the outputs."""
        context, count = self._context, len(images)  # the first refuses where the memory below is freed
        self._image.host_of(count)[:] = images.reshape(-1)
        if count in self._graphs:
            self._graphs[count]()
        elif self._use_graphs and self._shaped_for == count:
            self._graphs[count] = self._gpu.record(lambda: self._queue(count))
            self._graphs[count]()
        else:  # TensorRT does what a new shape needs in the first run, which a graph must not hold
            if self._shaped_for != count and not context.set_input_shape(INPUT_NAME, (count, *images.shape[1:])):
                raise InferenceError("TensorRT refuses the batch", found=count, expected=f"1 to {self._max_batch}")
            self._shaped_for = count
            self._queue(count)
        self._gpu.finish()

    def _queue(self, count: int) -> None:
        self._gpu.copy_in(self._image.device, self._image.host_of(count))
        if not self._context.execute_async_v3(self._gpu.stream):
            raise InferenceError(
                "TensorRT failed on an input", found="; ".join(self._log.problems) or "no reason given", fix=_REBUILD
            )
        for tensor in (self._probabilities, self._energy):
            self._gpu.copy_out(tensor.host_of(count), tensor.device)


_REBUILD = "build it again: smartbin engine build --force"


def _check_tensors(trt: TensorRt, engine: ICudaEngine, size: int, classes: int, max_batch: int) -> None:
    """`InferenceError` unless the engine's inputs and outputs are those of the bundle, for this largest batch."""
    found = _tensors(trt, engine)
    image, probabilities, energy = (size, size, 3), (classes,), ()
    expected = {
        INPUT_NAME: (trt.TensorIOMode.INPUT, trt.DataType.UINT8, image),
        PROBABILITIES_NAME: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT, probabilities),
        ENERGY_NAME: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT, energy),
    }
    if found != expected:
        raise InferenceError("the engine is not of this bundle", found=found, expected=expected, fix=_REBUILD)
    smallest, _, largest = (shape[0] for shape in engine.get_tensor_profile_shape(INPUT_NAME, 0))
    if smallest > 1 or largest < max_batch:
        raise InferenceError(
            "the engine takes other batches",
            found=f"{smallest} to {largest}",
            expected=f"1 to {max_batch}",
            fix=_REBUILD,
        )


def _tensors(trt: TensorRt, engine: ICudaEngine) -> dict[str, tuple[object, object, tuple[int, ...]]]:
    """Name of each input and output to its direction, type and shape behind the batch."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return {
        name: (
            engine.get_tensor_mode(name),
            engine.get_tensor_dtype(name),
            tuple(engine.get_tensor_shape(name))[1:],
        )
        for name in names
    }
