"""What NVIDIA's own files and commands say on a Jetson: release, power mode. Read by `doctor` and benchmarks."""

from __future__ import annotations

import re

from device.machine import Machine

RELEASE_FILE = "/etc/nv_tegra_release"


def is_jetson(machine: Machine) -> bool:
    """Whether this is one: L4T says so."""
    return machine.read(RELEASE_FILE) is not None


def l4t_release(machine: Machine) -> tuple[int, str] | None:
    """Release and revision of L4T, for example (36, "4.3"); None where the file is absent or says something else."""
    match = re.search(r"R(\d+)[^,]*,\s*REVISION:\s*([\d.]+)", machine.read(RELEASE_FILE) or "")
    return (int(match[1]), match[2]) if match else None


def jetpack_version(machine: Machine) -> str:
    """The version of the package `nvidia-jetpack`, empty where it is not installed."""
    return (machine.run("dpkg-query", "--showformat=${Version}", "--show", "nvidia-jetpack") or "").strip()


def board_model(machine: Machine) -> str | None:
    """What the board calls itself in its device tree, None where there is none (any PC)."""
    return (machine.read("/proc/device-tree/model") or "").strip("\0 \n") or None


def power_mode(machine: Machine) -> str | None:
    """The mode that `nvpmodel -q` gives, for example `MAXN_SUPER` or `15W`; None where the command is absent."""
    match = re.search(r"NV Power Mode:\s*(\S+)", machine.run("nvpmodel", "-q") or "")
    return match[1] if match else None
