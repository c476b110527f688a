"""What a figure was measured on: without it, a latency says nothing.

`Conditions` do not change during a run; `MachineState` does (clocks, heat), so it is read before and after.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.tegrastats import TegraStats, read_tegrastats
from device.jetson import board_model, is_jetson, jetpack_version, l4t_release, power_mode
from device.machine import Machine

_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "torch",
    "torchvision",
    "timm",
    "ultralytics",
    "pillow",
)
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Conditions:
    """The machine, the versions, and the commit that was measured; None where there is no such thing.

    `board` is what a device tree says, `jetpack` and `power_mode` are a Jetson's. `dirty`: files differ from `commit`.
    """

    cpu: str
    cores: int
    gpu: str | None
    board: str | None
    jetson: bool
    jetpack: str | None
    power_mode: str | None
    system: str
    python: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None

    @property
    def same_machine_as(self) -> tuple[str | int | None, ...]:
        """What must be equal in two runs whose times are to be compared."""
        return (self.board, self.cpu, self.cores, self.gpu, self.power_mode)

    @property
    def name(self) -> str:
        """The machine in short, for a file name: the board, else the GPU, else the CPU, and its cores."""
        words = re.sub(r"[^a-z0-9]+", "-", (self.board or self.gpu or self.cpu).lower()).strip("-")
        return f"{words[:40].strip('-')}-{self.cores}cores"

    def markdown(self) -> str:
        """A list, with a word on what the figures are not."""
        commit = "no git checkout" if self.commit is None else self.commit + (" and changes" if self.dirty else "")
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [f"- {self.cpu}, {self.cores} cores, {self.system}, Python {self.python}; {versions}"]
        lines += [f"- GPU: {self.gpu}"] if self.gpu else []
        lines += [f"- board: {self.board}"] if self.board else []
        if self.jetson:
            lines.append(f"- Jetson: {self.jetpack or 'JetPack unknown'}, power mode {self.power_mode or 'unknown'}")
        else:
            lines.append("- no Jetson: nothing here says how fast one is")
        return "\n".join([*lines, f"- commit: {commit}"])


@dataclass(frozen=True, slots=True)
class MachineState:
    """At one moment: load average of the last minute, mean clock of the cores, GPU clock, hottest sensor, power."""

    load: float
    cpu_mhz: float | None
    gpu_mhz: float | None
    temperature_c: float | None
    power_w: float | None

    def __str__(self) -> str:
        found = (
            ("load", self.load, ""),
            ("CPU", self.cpu_mhz, " MHz"),
            ("GPU", self.gpu_mhz, " MHz"),
            ("hottest", self.temperature_c, " °C"),
            ("power", self.power_w, " W"),
        )
        return ", ".join(f"{name} {value:.4g}{unit}" for name, value, unit in found if value is not None)


def read_conditions(machine: Machine) -> Conditions:
    """Look at this machine. Packages that are not installed are left out."""
    python, _, _ = machine.facts()
    commit, dirty = _commit(machine)
    release, jetpack = l4t_release(machine), jetpack_version(machine)
    parts = [f"JetPack {jetpack}"] if jetpack else []
    parts += [f"L4T {release[0]}.{release[1]}"] if release else []
    return Conditions(
        cpu=_cpu_name(machine),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        gpu=_gpu_name(machine),
        board=board_model(machine),
        jetson=is_jetson(machine),
        jetpack=", ".join(parts) or None,
        power_mode=power_mode(machine),
        system=f"{platform.system()} {platform.machine()}",
        python=python,
        versions={name: version for name in _PACKAGES if (version := _version(name)) is not None},
        commit=commit,
        dirty=dirty,
    )


def read_state(machine: Machine) -> MachineState:
    """Clocks, heat and load now. On a Jetson from `tegrastats`, which takes a fifth of a second."""
    load = float((machine.read("/proc/loadavg") or "nan").split()[0])
    tegra = read_tegrastats(machine) if is_jetson(machine) else TegraStats()
    gpu_mhz, gpu_c, gpu_w = _nvidia_smi(machine)
    temperatures = [value for value in (tegra.hottest_c, _hottest_zone(machine), gpu_c) if value is not None]
    return MachineState(
        load=load,
        cpu_mhz=tegra.cpu_mhz if tegra.cpu_mhz is not None else _cpu_mhz(machine),
        gpu_mhz=tegra.gpu_mhz if tegra.gpu_mhz is not None else gpu_mhz,
        temperature_c=max(temperatures, default=None),
        power_w=tegra.power_w if tegra.power_w is not None else gpu_w,
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(machine: Machine) -> tuple[str | None, bool | None]:
    """The short hash of the checkout that this code is in, and whether files differ from it."""

    def git(*words: str) -> str | None:
        return machine.run("git", "-C", str(_ROOT), *words)

    if (git("rev-parse", "--show-toplevel") or "").strip() != str(_ROOT):
        return None, None
    return (git("rev-parse", "--short", "HEAD") or "").strip() or None, bool(git("status", "--porcelain"))


def _cpu_name(machine: Machine) -> str:
    """The model name that Linux gives, or what Python knows elsewhere and on ARM boards."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", machine.read("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def _cpu_mhz(machine: Machine) -> float | None:
    """The mean of the cores, from the frequency governor, else from what x86 kernels list."""
    files = machine.matching("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    found = [float(text) / 1000 for path in files if (text := machine.read(path))]
    if not found:
        found = [float(value) for value in re.findall(r"cpu MHz\s*:\s*([\d.]+)", machine.read("/proc/cpuinfo") or "")]
    return sum(found) / len(found) if found else None


def _hottest_zone(machine: Machine) -> float | None:
    texts = (machine.read(path) for path in machine.matching("/sys/class/thermal/thermal_zone*/temp"))
    return max((int(text) / 1000 for text in texts if text and text.strip().isdigit()), default=None)


def _gpu_name(machine: Machine) -> str | None:
    fields = _nvidia_query(machine, "name,driver_version")
    return f"{fields[0]} (driver {fields[1]})" if len(fields) == 2 else None


def _nvidia_smi(machine: Machine) -> tuple[float | None, float | None, float | None]:
    """Clock in MHz, temperature in °C and power in W of the first GPU that `nvidia-smi` lists."""
    fields = _nvidia_query(machine, "clocks.sm,temperature.gpu,power.draw")
    numbers = [float(text) if re.fullmatch(r"[\d.]+", text) else None for text in fields]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else (None, None, None)


def _nvidia_query(machine: Machine, fields: str) -> list[str]:
    text = machine.run("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits") or ""
    return [field.strip() for field in text.splitlines()[0].split(",")] if text.strip() else []
