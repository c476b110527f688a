"""The engine of a bundle on this machine: its key here, the building of it, the opening of it."""

from __future__ import annotations

from dataclasses import dataclass

from smartbin.bundle import Bundle
from smartbin.engine.builder import build_engine
from smartbin.engine.cache import CachedEngine, EngineCache, default_root
from smartbin.engine.callbacks import Progress
from smartbin.engine.classifier import TensorRtClassifier
from smartbin.engine.gpu import CudaGpu, Gpu
from smartbin.engine.key import EngineKey, driver_of, engine_key
from smartbin.engine.options import EngineSettings
from smartbin.engine.trt import TensorRt, load_tensorrt
from smartbin.errors import InferenceError


@dataclass(frozen=True, slots=True)
class _Here:
    """TensorRT and the GPU of this machine, and what a bundle needs on them."""

    trt: TensorRt
    gpu: Gpu
    key: EngineKey
    cache: EngineCache


def open_engine(bundle: Bundle, settings: EngineSettings) -> TensorRtClassifier:
    """Open the engine that was built here for this bundle and these settings.

    `InferenceError` if TensorRT, a GPU or such an engine is missing; nothing is built here.
    """
    here = _look_around(bundle, settings)
    entry = here.cache.find(here.key)
    if entry is None:
        here.gpu.close()
        raise InferenceError(
            "there is no engine of this bundle for this machine",
            where=here.cache.root,
            expected=f"one of TensorRT {here.key.tensorrt} for {here.key.gpu}",
            fix="build it once: smartbin engine build, with the same --bundle and --config",
        )
    return TensorRtClassifier.open(
        here.trt, entry.plan, bundle.manifest, settings.max_batch, here.gpu, graph=settings.cuda_graph
    )


def build_here(
    bundle: Bundle, settings: EngineSettings, progress: Progress, *, force: bool = False
) -> tuple[CachedEngine, bool]:
    """The bundle's engine for this machine, and whether it was built now: it is if there is none, or by `force`.

    Takes minutes. `InferenceError` if TensorRT or a GPU is missing, or the build fails.
    """
    here = _look_around(bundle, settings)
    here.gpu.close()  # the build needs the memory
    if not force and (entry := here.cache.find(here.key)) is not None:
        return entry, False
    return build_engine(bundle, here.key, here.cache, progress), True


def engine_cache(settings: EngineSettings) -> EngineCache:
    """Where these settings keep engines."""
    return EngineCache(settings.folder or default_root())


def _look_around(bundle: Bundle, settings: EngineSettings) -> _Here:
    if bundle.manifest.target != "tensorrt":
        raise InferenceError(
            "TensorRT cannot take this bundle",
            where=bundle.path,
            found=f"a graph for {bundle.manifest.target}",
            expected="one that was exported for TensorRT",
            fix="export it with smartbin-export RUN --target tensorrt",
        )
    trt, gpu = load_tensorrt(), CudaGpu.open()
    facts = gpu.facts()
    key = engine_key(bundle, settings.built, facts, trt.__version__, driver_of(facts))
    return _Here(trt, gpu, key, engine_cache(settings))
