"""From an ONNX file to a TensorRT engine. It runs in a process of its own (`child.py`), which may die without harm.

The engine is strongly typed: its precisions are those of the graph. That is the one way that TensorRT 10.3 (JetPack 6)
and 11.x have in common, and a later change of defaults cannot alter what was measured at the export.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smartbin.bundle import INPUT_NAME
from smartbin.engine.callbacks import Progress, make_log, make_progress
from smartbin.engine.options import EngineOptions
from smartbin.engine.trt import TensorRt
from smartbin.errors import InferenceError


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A serialised engine and the timings that its build measured."""

    plan: bytes
    timings: bytes


def build_plan(
    trt: TensorRt, onnx: Path, size: int, options: EngineOptions, timings: bytes, progress: Progress
) -> BuiltPlan:
    """Build the engine of a bundle's ONNX file, whose input is uint8 [N, size, size, 3], N from 1 to `max_batch`.

    `trt` is the module `tensorrt`. `timings` is an earlier build's, or empty. Takes minutes. `InferenceError` if the
    file cannot be parsed or built, with what TensorRT said about it.
    """
    log = make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        problems = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise _failed("TensorRT cannot read the model", onnx, problems or log.problems)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.effort
    if options.dla_core is not None:
        if options.dla_core >= builder.num_DLA_cores:
            raise _no_dla(options.dla_core, builder.num_DLA_cores)
        config.default_device_type, config.DLA_core = trt.DeviceType.DLA, options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    profile = builder.create_optimization_profile()
    smallest, largest = ((batch, size, size, 3) for batch in (1, options.max_batch))
    profile.set_shape(INPUT_NAME, smallest, smallest, largest)
    if config.add_optimization_profile(profile) < 0:
        raise _failed("TensorRT refuses the range of batch sizes", onnx, log.problems)
    if not config.set_timing_cache(config.create_timing_cache(timings), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)  # of another version: measure anew
    monitor = make_progress(trt, progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed("TensorRT cannot build an engine of the model", onnx, log.problems)
    return BuiltPlan(bytes(plan), bytes(config.get_timing_cache().serialize()))


def _no_dla(core: int, cores: int) -> InferenceError:
    return InferenceError(
        "no such deep learning accelerator",
        found=f"core {core}",
        expected=f"0 to {cores - 1}" if cores else "none: this device, or this TensorRT, has no accelerator",
        fix="leave --dla-core out: the GPU runs everything",
    )


def _failed(what: str, onnx: Path, problems: list[str]) -> InferenceError:
    return InferenceError(
        what,
        where=onnx,
        found="; ".join(problems) or "no reason given",
        fix="export the bundle with `--target tensorrt`, and see `smartbin doctor` for TensorRT's version",
    )
