"""One line of `tegrastats`, the monitor that comes with JetPack: clocks, temperatures and power of a Jetson."""

from __future__ import annotations

import re
from dataclasses import dataclass

from device.machine import Machine

# It never ends by itself: `head` takes its first line, and the next one that it writes ends it.
_COMMAND = ("sh", "-c", "tegrastats --interval 200 2>/dev/null | head -n 1")


@dataclass(frozen=True, slots=True)
class TegraStats:
    """What a line says; None for what it does not. `cpu_mhz` is the mean of the cores that are on."""

    cpu_mhz: float | None = None
    gpu_mhz: float | None = None
    hottest_c: float | None = None
    power_w: float | None = None


def read_tegrastats(machine: Machine) -> TegraStats:
    """Ask it once; a machine without it says nothing."""
    return parse_tegrastats(machine.run(*_COMMAND) or "")


def parse_tegrastats(line: str) -> TegraStats:
    """From a line of JetPack 4 to 7.

    CPU [12%@1510,off,…]; GR3D_FREQ 0%@[305] or 0%@305; NAME@48.5C; VDD_IN or VIN_SYS_5V0 NOWmW/MEANmW.
    """
    cores = re.search(r"CPU \[([^\]]*)\]", line)
    clocks = [float(value) for value in re.findall(r"\d+%@(\d+)", cores[1])] if cores else []
    gpu = re.search(r"GR3D_FREQ \d+%@\[?(\d+)", line)
    # a sensor that is switched off reads -256
    heat = [float(value) for value in re.findall(r"\b\w+@(-?[\d.]+)C\b", line) if float(value) > -100]
    power = re.search(r"\b(?:VDD_IN|VIN_SYS_5V0|POM_5V_IN) (\d+)(?:mW)?/", line)
    return TegraStats(
        cpu_mhz=sum(clocks) / len(clocks) if clocks else None,
        gpu_mhz=float(gpu[1]) if gpu else None,
        hottest_c=max(heat, default=None),
        power_w=int(power[1]) / 1000 if power else None,
    )
