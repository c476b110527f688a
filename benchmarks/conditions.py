"""What a figure was measured on: without it, a latency says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "torchvision",
    "pillow",
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The machine and the versions. `load` is the load average over the last minute when the run began."""

    cpu: str
    cores: int
    system: str
    python: str
    versions: dict[str, str]
    load: float

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.cpu}, {self.cores} cores, {self.system}, Python {self.python}; {versions}; "
            f"load {self.load:.1f} at the start"
        )


def read_conditions() -> Conditions:
    """Look at this machine. Packages that are not installed are left out."""
    return Conditions(
        cpu=_cpu_name(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={name: version for name in _PACKAGES if (version := _version(name)) is not None},
        load=round(os.getloadavg()[0], 2),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name(cpuinfo: Path) -> str:
    """The model name that Linux gives, or what Python knows elsewhere and on ARM boards."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
