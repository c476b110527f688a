"""The GPU as far as an engine needs it: what it is, memory, one stream. The only file that calls CUDA.

CUDA's errors are sticky: after one, every call of the process fails. So each is an `InferenceError`, whose exit code 5
ends the daemon, and systemd starts a new process.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Protocol, SupportsInt, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from smartbin.engine.key import GpuFacts
from smartbin.errors import InferenceError

Bytes: TypeAlias = NDArray[np.uint8]


class Gpu(Protocol):
    """One GPU and one stream on it. Not thread-safe. Every method raises `InferenceError` when CUDA fails."""

    @property
    def stream(self) -> int:
        """The stream's handle."""
        ...

    def facts(self) -> GpuFacts:
        """What GPU this is."""
        ...

    def host_memory(self, nbytes: int) -> Bytes:
        """Page-locked memory of the host, uint8 [nbytes], valid until `close`."""
        ...

    def device_memory(self, nbytes: int) -> int:
        """Address of device memory, valid until `close`."""
        ...

    def copy_in(self, target: int, source: Bytes) -> None:
        """Queue a copy of host memory to the device address `target`."""
        ...

    def copy_out(self, target: Bytes, source: int) -> None:
        """Queue a copy from the device address `source` that fills the host memory `target`."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` queues, without doing it, as a CUDA graph; returns what queues the whole of it at once."""
        ...

    def finish(self) -> None:
        """Wait until all that was queued is done."""
        ...

    def close(self) -> None:
        """Free everything. May be called twice."""
        ...


class CudaGpu:
    """The first GPU that CUDA shows (`CUDA_VISIBLE_DEVICES` chooses another), through cuda-python."""

    def __init__(self, runtime: ModuleType) -> None:
        self._cuda = runtime
        self._free: list[Callable[[], object]] = []
        self._stream = 0
        self._facts = self._read_facts()
        (stream,) = self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self._stream = int(cast("SupportsInt", stream))
        self._free.append(lambda: runtime.cudaStreamDestroy(stream))

    @classmethod
    def open(cls) -> CudaGpu:
        """`InferenceError` if there is no cuda-python, no driver or no GPU."""
        return cls(cuda_runtime())

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return self._stream

    def facts(self) -> GpuFacts:
        """Name, compute capability and CUDA version of the driver."""
        return self._facts

    def host_memory(self, nbytes: int) -> Bytes:
        """Page-locked: copies to and from it are direct."""
        address = self._number("cudaHostAlloc", nbytes, self._cuda.cudaHostAllocDefault)
        self._free.append(lambda: self._cuda.cudaFreeHost(address))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def device_memory(self, nbytes: int) -> int:
        """Address of so many bytes on the device."""
        address = self._number("cudaMalloc", nbytes)
        self._free.append(lambda: self._cuda.cudaFree(address))
        return address

    def copy_in(self, target: int, source: Bytes) -> None:
        """Queue a copy of the contiguous `source` to the device."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", target, source.ctypes.data, source.nbytes, kind, self._stream)

    def copy_out(self, target: Bytes, source: int) -> None:
        """Queue a copy from the device into the contiguous `target`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.ctypes.data, source, target.nbytes, kind, self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """As a CUDA graph: one launch instead of several, which saves the CPU's time."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        except BaseException:
            self._cuda.cudaStreamEndCapture(self._stream)  # the stream is usable again; the first error is what counts
            raise
        (graph,) = self._call("cudaStreamEndCapture", self._stream)
        (executable,) = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        self._free.append(lambda: self._cuda.cudaGraphExecDestroy(executable))
        return lambda: self._launch(executable)

    def finish(self) -> None:
        """Wait for the stream."""
        self._call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Free everything, the latest first; errors no longer matter."""
        while self._free:
            self._free.pop()()

    def _launch(self, executable: object) -> None:
        self._call("cudaGraphLaunch", executable, self._stream)

    def _read_facts(self) -> GpuFacts:
        if self._number("cudaGetDeviceCount") < 1:
            raise InferenceError("no GPU", expected="one that CUDA can use", fix=_FIX)
        properties = cast("_Properties", self._call("cudaGetDeviceProperties", 0)[0])
        version = self._number("cudaDriverGetVersion")
        return GpuFacts(
            name=_text(properties.name),
            compute_capability=f"{properties.major}.{properties.minor}",
            cuda_driver=f"{version // 1000}.{version % 1000 // 10}",
        )

    def _number(self, function: str, *arguments: object) -> int:
        return int(cast("SupportsInt", self._call(function, *arguments)[0]))

    def _call(self, function: str, *arguments: object) -> list[object]:
        """Call CUDA; returns the results behind the status."""
        results: list[object]
        try:
            status, *results = getattr(self._cuda, function)(*arguments)
        except RuntimeError as error:  # cuda-python's own, where the driver's library is not there
            raise InferenceError("CUDA failed", where=function, found=error, fix=_FIX) from error
        if status != self._cuda.cudaError_t.cudaSuccess:
            _, text = self._cuda.cudaGetErrorString(status)
            raise InferenceError("CUDA failed", where=function, found=f"{status.name}: {_text(text)}", fix=_FIX)
        return results


class _Properties(Protocol):
    """Of `cudaDeviceProp`."""

    name: bytes
    major: int
    minor: int


_FIX = (
    "`smartbin doctor` says what is missing; an error in the middle of work is not to be mended by this process: start "
    "it again (systemd does), and look at dmesg if it comes back"
)


def cuda_runtime() -> ModuleType:
    """cuda-python's module for the CUDA runtime, under either of its names; `InferenceError` if it is not installed."""
    for name in ("cuda.bindings.runtime", "cuda.cudart"):  # the second before cuda-python 12.8
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise InferenceError(
        "cuda-python is not installed",
        fix="pip install 'smartbin[tensorrt]' with the cuda-python of this machine's CUDA (12.x on JetPack 6)",
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)
