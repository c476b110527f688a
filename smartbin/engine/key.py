"""What an engine was built of and for. An engine whose key is not exactly the wanted one is never loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from smartbin.bundle import MODEL_FILE, Bundle
from smartbin.engine.options import EngineOptions

RECIPE = 1
"""Number of the way in which `build.py` builds; raised when a change of it must make old engines stale."""

_L4T_RELEASE, _DRIVER_VERSION = Path("/etc/nv_tegra_release"), Path("/sys/module/nvidia/version")
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """A GPU and its driver, as far as an engine depends on them."""

    name: str
    compute_capability: str
    """Major and minor, for example `8.7`."""
    cuda_driver: str
    """The CUDA version that the driver supports, for example `12.6`."""


class EngineKey(BaseModel):
    """Everything that an engine depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    onnx_sha256: str
    precision: str
    size: int
    tensorrt: str
    gpu: str
    compute_capability: str
    driver: str
    options: EngineOptions
    recipe: int = RECIPE

    @property
    def digest(self) -> str:
        """Short name of the key: hexadecimal digits of its SHA-256."""
        return _digest(self.model_dump_json())

    @property
    def platform_digest(self) -> str:
        """The same of what timings depend on: TensorRT, GPU and driver, whatever the model."""
        return _digest("\n".join((self.tensorrt, self.gpu, self.compute_capability, self.driver)))

    def differences(self, other: EngineKey) -> list[str]:
        """A line for each field that is not the same, as `name: mine, not theirs`."""
        mine, theirs = self.model_dump(), other.model_dump()
        return [f"{name}: {theirs[name]}, not {mine[name]}" for name in mine if mine[name] != theirs[name]]


def engine_key(bundle: Bundle, options: EngineOptions, gpu: GpuFacts, tensorrt: str, driver: str) -> EngineKey:
    """The key of the engine that this bundle needs here; `driver` is `driver_of(gpu)`."""
    manifest = bundle.manifest
    return EngineKey(
        onnx_sha256=manifest.files[MODEL_FILE],
        precision=manifest.precision,
        size=manifest.preprocess.size,
        tensorrt=tensorrt,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=driver,
        options=options,
    )


def driver_of(gpu: GpuFacts, l4t_release: Path = _L4T_RELEASE, driver_version: Path = _DRIVER_VERSION) -> str:
    """Driver and a Jetson's L4T release on one line: `CUDA 12.6, driver 540.4.0, # R36 (release), REVISION: 4.3`."""
    parts = [f"CUDA {gpu.cuda_driver}"]
    if (version := _first_line(driver_version)) is not None:
        parts.append(f"driver {version}")
    if (release := _first_line(l4t_release)) is not None:
        parts.append(", ".join(part.strip() for part in release.split(",")[:2]))
    return ", ".join(parts)


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_DIGITS]
