"""The part of TensorRT's Python API that smartbin uses, as types.

mypy holds our code to these names, and a test holds these names, parameters and enum members to the real bindings of
TensorRT 10.3 (JetPack 6) and 11.4. Each class has the name that it has there.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from smartbin.errors import InferenceError


class ParserError(Protocol):
    """What the parser did not like."""

    def desc(self) -> str: ...


class INetworkDefinition(Protocol):
    """A network, filled by the parser."""


class OnnxParser(Protocol):
    """Reads an ONNX file into a network."""

    @property
    def num_errors(self) -> int: ...
    def parse_from_file(self, model: str) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class IHostMemory(Protocol):
    """Serialised bytes, by the buffer protocol."""

    @property
    def nbytes(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


class ITimingCache(Protocol):
    """Timings of layers, which spare the next build the measuring."""

    def serialize(self) -> IHostMemory: ...


class IOptimizationProfile(Protocol):
    """The range of shapes that an engine takes."""

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None: ...


class IBuilderConfig(Protocol):
    """How to build."""

    builder_optimization_level: int
    default_device_type: object
    DLA_core: int
    progress_monitor: object

    def set_memory_pool_limit(self, pool: object, pool_size: int) -> None: ...
    def set_flag(self, flag: object) -> None: ...
    def add_optimization_profile(self, profile: IOptimizationProfile) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache: ...
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> ITimingCache: ...


class Builder(Protocol):
    """Makes networks, configurations and engines."""

    @property
    def num_DLA_cores(self) -> int: ...
    def create_network(self, flags: int) -> INetworkDefinition: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None: ...


class IExecutionContext(Protocol):
    """Runs an engine: shapes and addresses in, work on a stream out."""

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class ICudaEngine(Protocol):
    """A loaded engine."""

    @property
    def num_io_tensors(self) -> int: ...
    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> object: ...
    def get_tensor_dtype(self, name: str) -> object: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Sequence[int]]: ...
    def create_execution_context(self) -> IExecutionContext | None: ...


class Runtime(Protocol):
    """Loads engines."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None: ...


class NetworkDefinitionCreationFlag(Protocol):
    """Enum."""

    STRONGLY_TYPED: int


class MemoryPoolType(Protocol):
    """Enum."""

    WORKSPACE: object


class DeviceType(Protocol):
    """Enum."""

    DLA: object


class BuilderFlag(Protocol):
    """Enum."""

    GPU_FALLBACK: object


class TensorIOMode(Protocol):
    """Enum."""

    INPUT: object
    OUTPUT: object


class DataType(Protocol):
    """Enum."""

    UINT8: object
    FLOAT: object


class Severity(Protocol):
    """Enum `ILogger.Severity`."""

    INTERNAL_ERROR: object
    ERROR: object
    WARNING: object
    INFO: object
    VERBOSE: object


class ILogger(Protocol):
    """Base class of logs: `log(severity, msg)` is overridden."""

    Severity: Severity

    def log(self, severity: object, msg: str) -> None: ...


class IProgressMonitor(Protocol):
    """Base class of monitors: all three are overridden."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> bool: ...
    def phase_finish(self, phase_name: str) -> None: ...


class TensorRt(Protocol):
    """The module itself."""

    __version__: str
    NetworkDefinitionCreationFlag: NetworkDefinitionCreationFlag
    MemoryPoolType: MemoryPoolType
    DeviceType: DeviceType
    BuilderFlag: BuilderFlag
    TensorIOMode: TensorIOMode
    DataType: DataType
    ILogger: type[ILogger]
    IProgressMonitor: type[IProgressMonitor]

    def Builder(self, logger: object) -> Builder: ...
    def OnnxParser(self, network: INetworkDefinition, logger: object) -> OnnxParser: ...
    def Runtime(self, logger: object) -> Runtime: ...


def load_tensorrt(module: str = "tensorrt") -> TensorRt:
    """TensorRT's Python module; `InferenceError` if it is not installed or does not find its libraries."""
    try:
        return cast("TensorRt", importlib.import_module(module))
    except (ImportError, OSError) as error:  # OSError: a library that it loads by itself
        raise InferenceError(
            "TensorRT cannot be imported",
            found=error,
            fix="on a Jetson: sudo apt install python3-libnvinfer, and a venv with --system-site-packages; elsewhere: "
            "pip install 'smartbin[tensorrt]'",
        ) from error
