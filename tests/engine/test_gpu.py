"""`CudaGpu` against a CUDA that notes what it is asked, and its names against the real cuda-python."""

from __future__ import annotations

import ast
import ctypes
import inspect
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from smartbin.engine import gpu as gpu_module
from smartbin.engine.gpu import CudaGpu, cuda_runtime
from smartbin.errors import InferenceError


class Status(IntEnum):
    cudaSuccess, cudaErrorIllegalAddress = 0, 700  # noqa: N815


class FakeCuda(ModuleType):
    """Device memory is host memory, work is done at once, and `calls` has the name of everything that was asked."""

    cudaError_t = Status  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaHostAllocDefault = 0  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __init__(self) -> None:
        super().__init__("cuda")
        self.calls: list[str] = []
        self.fails: str | None = None
        self.held: dict[int, object] = {}
        self.devices = 1

    def __getattr__(self, name: str) -> Callable[..., tuple[object, ...]]:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: object) -> tuple[object, ...]:
            self.calls.append(name)
            if name == self.fails:
                return Status.cudaErrorIllegalAddress, None
            return Status.cudaSuccess, *self._answer(name, *arguments)

        return call

    def _answer(self, name: str, *arguments: object) -> tuple[object, ...]:
        if name in {"cudaMalloc", "cudaHostAlloc"}:
            memory = (ctypes.c_uint8 * int(str(arguments[0])))()
            self.held[ctypes.addressof(memory)] = memory
            return (ctypes.addressof(memory),)
        if name in {"cudaFree", "cudaFreeHost"}:
            del self.held[int(str(arguments[0]))]
        if name == "cudaMemcpyAsync":
            ctypes.memmove(*(int(str(value)) for value in arguments[:3]))
        answers: dict[str, object] = {
            "cudaGetDeviceCount": self.devices,
            "cudaGetDeviceProperties": SimpleNamespace(name=b"Orin\0\0", major=8, minor=7),
            "cudaDriverGetVersion": 12060,
            "cudaStreamCreateWithFlags": 77,
            "cudaStreamEndCapture": "graph",
            "cudaGraphInstantiate": "executable",
            "cudaGetErrorString": b"an illegal memory access was encountered",
        }
        return (answers[name],) if name in answers else ()


def test_memory_goes_there_and_back_and_is_freed() -> None:
    cuda = FakeCuda()
    gpu = CudaGpu(cuda)
    facts = gpu.facts()
    assert (facts.name, facts.compute_capability, facts.cuda_driver, gpu.stream) == ("Orin", "8.7", "12.6", 77)
    there, back, device = gpu.host_memory(8), gpu.host_memory(8), gpu.device_memory(8)
    there[:] = np.arange(8)
    gpu.copy_in(device, there[:5])
    gpu.copy_out(back[:5], device)
    gpu.finish()
    assert back.tolist() == [0, 1, 2, 3, 4, 0, 0, 0]
    assert cuda.calls[-1] == "cudaStreamSynchronize"
    gpu.close()
    gpu.close()
    assert cuda.held == {}
    assert cuda.calls[-4:] == ["cudaFree", "cudaFreeHost", "cudaFreeHost", "cudaStreamDestroy"]


def test_graph_is_recorded_and_launched() -> None:
    cuda = FakeCuda()
    gpu = CudaGpu(cuda)
    cuda.calls.clear()
    launch = gpu.record(lambda: cuda.calls.append("work"))
    assert cuda.calls == [
        *("cudaStreamBeginCapture", "work", "cudaStreamEndCapture"),
        *("cudaGraphInstantiate", "cudaGraphDestroy"),
    ]
    launch()
    assert cuda.calls[-1] == "cudaGraphLaunch"
    gpu.close()
    assert cuda.calls[-2:] == ["cudaGraphExecDestroy", "cudaStreamDestroy"]


def test_work_that_fails_while_it_is_recorded_ends_the_recording() -> None:
    cuda = FakeCuda()
    gpu = CudaGpu(cuda)

    def work() -> None:
        raise InferenceError("TensorRT failed on an input")

    with pytest.raises(InferenceError, match="TensorRT failed"):
        gpu.record(work)
    assert cuda.calls[-1] == "cudaStreamEndCapture"


def test_error_names_the_function_and_what_cuda_says() -> None:
    cuda = FakeCuda()
    gpu = CudaGpu(cuda)
    cuda.fails = "cudaStreamSynchronize"
    with pytest.raises(InferenceError) as failed:
        gpu.finish()
    assert failed.value.where == "cudaStreamSynchronize"
    assert failed.value.found == "cudaErrorIllegalAddress: an illegal memory access was encountered"
    assert failed.value.exit_code == 5


def test_machine_without_a_gpu() -> None:
    cuda = FakeCuda()
    cuda.devices = 0
    with pytest.raises(InferenceError, match="no GPU"):
        CudaGpu(cuda)


def test_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda-python then raises at the first call: in a container, for example, that was started without its GPU."""

    def no_driver(*arguments: object) -> tuple[object, ...]:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    cuda = FakeCuda()
    monkeypatch.setattr(cuda, "cudaGetDeviceCount", no_driver, raising=False)
    with pytest.raises(InferenceError, match="CUDA failed") as failed:
        CudaGpu(cuda)
    assert "libcuda" in str(failed.value.found)
    assert failed.value.exit_code == 5


def test_without_cuda_python_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> ModuleType:
        raise ImportError(name)

    monkeypatch.setattr(gpu_module.importlib, "import_module", absent)
    with pytest.raises(InferenceError, match="cuda-python is not installed"):
        cuda_runtime()


def test_every_name_is_one_of_the_real_cuda_python() -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    tree = ast.parse(inspect.getsource(gpu_module))
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {word for word in words if word.startswith("cuda") and word.isalnum()}
    chains = [ast.unparse(node).split(".") for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {tuple(chain[2:]) for chain in chains if chain[:2] == ["self", "_cuda"] and len(chain) > 2}
    used |= {tuple(chain[1:]) for chain in chains if chain[0] == "runtime"} | {(name,) for name in names}
    assert len(used) > 15
    for path in used:
        item: object = real
        for name in path:
            assert hasattr(item, name), ".".join(path)
            item = getattr(item, name)


def _real_gpu() -> bool:
    try:
        runtime = cuda_runtime()
        status, count = runtime.cudaGetDeviceCount()
    except (InferenceError, RuntimeError):  # cuda-python without a driver
        return False
    return bool(status == runtime.cudaError_t.cudaSuccess and count)


@pytest.mark.cuda
@pytest.mark.skipif(not _real_gpu(), reason="needs a CUDA GPU and cuda-python")
def test_on_a_real_gpu_memory_and_graphs_do_what_the_fake_does() -> None:
    gpu = CudaGpu.open()
    try:
        facts = gpu.facts()
        assert facts.name
        assert float(facts.compute_capability) >= 5
        assert float(facts.cuda_driver) >= 12
        there, back, device = gpu.host_memory(1 << 16), gpu.host_memory(1 << 16), gpu.device_memory(1 << 16)

        def work() -> None:
            gpu.copy_in(device, there)
            gpu.copy_out(back, device)

        there[:], back[:] = np.arange(1 << 16) % 251, 0
        work()
        gpu.finish()
        assert np.array_equal(there, back)
        launch = gpu.record(work)
        there[:] = np.arange(1 << 16) % 241
        gpu.finish()
        assert not np.array_equal(there, back)  # recorded, not done
        launch()
        gpu.finish()
        assert np.array_equal(there, back)
        with pytest.raises(InferenceError, match="CUDA failed"):
            gpu.device_memory(1 << 60)
    finally:
        gpu.close()
        gpu.close()
