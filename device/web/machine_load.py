"""How the machine is doing: temperatures, disks, memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from device.web.record import Record


class Temperature(Record):
    """One sensor."""

    sensor: str
    celsius: float


class Disk(Record):
    """The disk under a folder; `holds` says what the folder is for."""

    holds: str
    free_bytes: int
    size_bytes: int


class MachineLoad(Record):
    """What was read; empty where this machine cannot say."""

    temperatures: list[Temperature]
    disks: list[Disk]
    memory_available_bytes: int
    memory_bytes: int
    process_bytes: int


def read_load(folders: dict[str, str]) -> MachineLoad:
    """Read everything, a millisecond or so. `folders` by what they hold; one that is not there yet is its parent's."""
    memory = psutil.virtual_memory()
    return MachineLoad(
        temperatures=_temperatures(),
        disks=[disk for holds, folder in folders.items() if (disk := _disk(holds, Path(folder))) is not None],
        memory_available_bytes=memory.available,
        memory_bytes=memory.total,
        process_bytes=psutil.Process().memory_info().rss,
    )


def _temperatures() -> list[Temperature]:
    """Of all sensors; several of one kind are numbered."""
    found: dict[str, float] = {}
    sensors = getattr(psutil, "sensors_temperatures", dict)
    with suppress(OSError, ValueError):
        for chip, readings in sensors().items():
            for number, reading in enumerate(readings):
                name = reading.label or (f"{chip} {number}" if len(readings) > 1 else chip)
                if -50 < reading.current < 200:  # some Jetson zones say nonsense while they are switched off
                    found.setdefault(name if name not in found else f"{chip} {name} {number}", reading.current)
    return [Temperature(sensor=name, celsius=celsius) for name, celsius in found.items()]


def _disk(holds: str, folder: Path) -> Disk | None:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if existing is None:
        return None
    with suppress(OSError):
        usage = psutil.disk_usage(str(existing))
        return Disk(holds=holds, free_bytes=usage.free, size_bytes=usage.total)
    return None
