"""Stands in for TensorRT and for the GPU: an "engine" is the ONNX file's path, and ONNX Runtime does the work.

What `smartbin.engine` asks of them is what `smartbin.engine.trt` says, which another test holds to the real bindings.
The environment variable FAKE_TENSORRT makes it fail in one way: parse, build, timings, kill, exit, load, context or
execute.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from enum import Enum, IntEnum

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from smartbin.engine.key import GpuFacts
from smartbin.errors import InferenceError
from smartbin.ort_classifier import ask_for_exact_int8

__version__ = "10.3.0"
ORIN = GpuFacts("Orin", "8.7", "12.6")
STREAMS: dict[int, FakeGpu] = {}


def fails(how: str) -> bool:
    return os.environ.get("FAKE_TENSORRT") == how


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH, STRONGLY_TYPED = 0, 1


class MemoryPoolType(Enum):
    WORKSPACE = 0


class DeviceType(Enum):
    GPU, DLA = 0, 1


class BuilderFlag(Enum):
    GPU_FALLBACK = 0


class TensorIOMode(Enum):
    INPUT, OUTPUT = 1, 2


class DataType(Enum):
    FLOAT, UINT8 = 0, 1


class ILogger:
    class Severity(Enum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity: object, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class _Network:
    onnx = ""


class _ParserError:
    def desc(self) -> str:
        return "no importer for Exotic"


class OnnxParser:
    def __init__(self, network: _Network, logger: ILogger) -> None:
        self._network, self.num_errors = network, 0

    def parse_from_file(self, model: str) -> bool:
        self._network.onnx = model
        self.num_errors = int(fails("parse"))
        return not self.num_errors

    def get_error(self, index: int) -> _ParserError:
        return _ParserError()


class _Profile:
    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:  # noqa: A002
        self.shapes = [list(shape) for shape in (min, opt, max)]


class _TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"measured;"


class _Config:
    builder_optimization_level = 3
    default_device_type = DeviceType.GPU
    DLA_core = -1
    progress_monitor: IProgressMonitor

    def __init__(self) -> None:
        self.flags: list[object] = []
        self.limits: dict[object, int] = {}

    def set_memory_pool_limit(self, pool: object, pool_size: int) -> None:
        self.limits[pool] = pool_size

    def set_flag(self, flag: object) -> None:
        self.flags.append(flag)

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> _TimingCache:
        return _TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        self.timings = cache
        return not (fails("timings") and cache.content)

    def get_timing_cache(self) -> _TimingCache:
        return self.timings


class Builder:
    num_DLA_cores = 2  # noqa: N815

    def __init__(self, logger: ILogger) -> None:
        self._log = logger

    def create_network(self, flags: int) -> _Network:
        self.flags = flags
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 2)
        monitor.step_complete("Building Engine", 0)
        if fails("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fails("exit"):
            os._exit(3)
        if fails("build"):
            self._log.log(ILogger.Severity.WARNING, "slow")
            self._log.log(ILogger.Severity.ERROR, "no implementation for node Conv_7")
            return None
        monitor.step_complete("Building Engine", 1)
        monitor.phase_finish("Building Engine")
        settings = {
            "onnx": network.onnx,
            "shapes": config.profile.shapes,
            "strongly_typed": bool(self.flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED),
            "workspace": config.limits[MemoryPoolType.WORKSPACE],
            "level": config.builder_optimization_level,
            "dla": [config.default_device_type.name, config.DLA_core, [flag.name for flag in config.flags]],  # type: ignore[attr-defined]
        }
        return json.dumps(settings).encode("utf-8")


class _Context:
    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._addresses: dict[str, int] = {}
        self.shapes: list[tuple[int, ...]] = []
        self.runs = 0

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        self.shapes.append(tuple(shape))
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        gpu, shape = STREAMS[stream_handle], self.shapes[-1]
        gpu.queue(lambda: self._execute(gpu, shape))
        return not fails("execute")

    def _execute(self, gpu: FakeGpu, shape: tuple[int, ...]) -> None:
        self.runs += 1
        image = gpu.memory[self._addresses["image"]][: int(np.prod(shape))].reshape(shape)
        for name, value in zip(
            ("probabilities", "energy"), self._session.run(["probabilities", "energy"], {"image": image}), strict=True
        ):
            raw = np.ascontiguousarray(value, np.float32).view(np.uint8).reshape(-1)
            gpu.memory[self._addresses[name]][: raw.size] = raw


class Engine:
    def __init__(self, settings: dict[str, object]) -> None:
        options = ort.SessionOptions()
        ask_for_exact_int8(options)  # as OrtClassifier, for equal answers
        self._session = ort.InferenceSession(str(settings["onnx"]), options, providers=["CPUExecutionProvider"])
        self._shapes = settings["shapes"]
        self.tensors = {
            item.name: (mode, kind, item.shape)
            for mode, kind, items in (
                (TensorIOMode.INPUT, DataType.UINT8, self._session.get_inputs()),
                (TensorIOMode.OUTPUT, DataType.FLOAT, self._session.get_outputs()),
            )
            for item in items
        }
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> object:
        return self.tensors[name][0]

    def get_tensor_dtype(self, name: str) -> object:
        return self.tensors[name][1]

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        return [-1, *self.tensors[name][2][1:]]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> object:
        return self._shapes

    def create_execution_context(self) -> _Context | None:
        return None if fails("context") else _Context(self._session)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._log = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        if fails("load"):
            self._log.log(ILogger.Severity.ERROR, "engine plan file is not compatible with this version")
            return None
        return Engine(json.loads(serialized_engine))


class FakeGpu:
    """Device memory is arrays by made-up addresses. What is recorded runs when it is launched, not before."""

    def __init__(self, facts: GpuFacts = ORIN) -> None:
        self._facts = facts
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.allocations = 0
        self.launches = 0
        self.pending = 0
        self.closed = 0
        self.stream = 1 + len(STREAMS)
        self._recording: list[Callable[[], None]] | None = None
        STREAMS[self.stream] = self

    def facts(self) -> GpuFacts:
        return self._facts

    def host_memory(self, nbytes: int) -> NDArray[np.uint8]:
        self.allocations += 1
        return np.zeros(nbytes, np.uint8)

    def device_memory(self, nbytes: int) -> int:
        self.allocations += 1
        address = 4096 * (1 + len(self.memory))
        self.memory[address] = np.zeros(nbytes, np.uint8)
        return address

    def copy_in(self, target: int, source: NDArray[np.uint8]) -> None:
        def copy() -> None:
            self.memory[target][: source.size] = source

        self.queue(copy)

    def copy_out(self, target: NDArray[np.uint8], source: int) -> None:
        def copy() -> None:
            target[:] = self.memory[source][: target.size]

        self.queue(copy)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        recorded: list[Callable[[], None]] = []
        self._recording = recorded
        try:
            work()
        finally:
            self._recording = None

        def launch() -> None:
            self.launches += 1
            for step in recorded:
                self.queue(step)

        return launch

    def queue(self, step: Callable[[], None]) -> None:
        if self._recording is not None:
            self._recording.append(step)
            return
        if self.closed:
            raise InferenceError("CUDA failed", found="cudaErrorInvalidValue: the memory is freed")
        self.pending += 1
        step()

    def finish(self) -> None:
        self.pending = 0

    def close(self) -> None:
        self.closed += 1
        self.memory.clear()
