"""The environment of a figure, from captured text of a Jetson's and a workstation's own commands."""

from __future__ import annotations

import pytest

from benchmarks.conditions import read_conditions, read_state
from benchmarks.tegrastats import TegraStats, parse_tegrastats
from device.machine import ThisMachine
from tests.device.staged_machine import StagedMachine, jetson

ORIN_NANO = (
    "11-25-2026 10:00:00 RAM 2456/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU [12%@1510,3%@1510,0%@1344,0%@1344,"
    "off,off] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[305] NVDEC off NVJPG off NVJPG1 off VIC off OFA off APE 200 cpu@48.5C "
    "soc2@47.468C soc0@48.187C gpu@47.906C tj@48.562C soc1@47.875C VDD_IN 4928mW/4928mW VDD_CPU_GPU_CV 512mW/512mW"
)
XAVIER_JETPACK_4 = (
    "RAM 1903/7764MB (lfb 1022x4MB) SWAP 0/3882MB (cached 0MB) CPU [2%@1190,1%@1190,0%@1190,1%@1190,off,off] "
    "EMC_FREQ 0%@1600 GR3D_FREQ 7%@1109 VIC_FREQ 0%@115 APE 150 MTS fg 0% bg 0% AO@37C GPU@36.5C Tdiode@-256C "
    "PMIC@50C AUX@36.5C CPU@38C thermal@37.2C VDD_IN 3442/3442 VDD_CPU_GPU_CV 401/401 VDD_SOC 882/882"
)
CPUINFO = (
    "processor\t: 0\nmodel name\t: AMD EPYC 9654\ncpu MHz\t\t: 2400.000\n\nprocessor\t: 1\ncpu MHz\t\t: 2600.000\n"
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ORIN_NANO, TegraStats(cpu_mhz=1427.0, gpu_mhz=305.0, hottest_c=48.562, power_w=4.928)),
        (XAVIER_JETPACK_4, TegraStats(cpu_mhz=1190.0, gpu_mhz=1109.0, hottest_c=50.0, power_w=3.442)),
        ("", TegraStats()),
    ],
    ids=["Orin Nano, JetPack 6", "Xavier, JetPack 4", "nothing"],
)
def test_tegrastats(line: str, expected: TegraStats) -> None:
    assert parse_tegrastats(line) == expected


def test_a_jetson_says_its_board_release_and_power_mode() -> None:
    machine = jetson(devices=[])
    machine.files["/proc/loadavg"] = "0.52 0.58 0.59 1/467 1234"
    machine.commands["sh"] = ORIN_NANO
    found = read_conditions(machine)
    assert (found.board, found.jetson) == ("NVIDIA Jetson Orin Nano Developer Kit", True)
    assert (found.jetpack, found.power_mode) == ("JetPack 6.2+b77, L4T 36.4.3", "MAXN_SUPER")
    assert found.name.startswith("nvidia-jetson-orin-nano-developer-kit-")
    assert "no Jetson" not in found.markdown()
    state = read_state(machine)
    assert (state.load, state.cpu_mhz, state.gpu_mhz, state.power_w) == (0.52, 1427.0, 305.0, 4.928)
    assert str(state) == "load 0.52, CPU 1427 MHz, GPU 305 MHz, hottest 48.56 °C, power 4.928 W"


def test_figures_of_a_workstation_are_said_to_be_none_of_a_jetson() -> None:
    machine = StagedMachine(
        files={"/proc/cpuinfo": CPUINFO, "/proc/loadavg": "1.5 1 1 1/1 1"},
        devices=[],
        commands={"nvidia-smi": "NVIDIA L4, 570.86.15\n"},
    )
    found = read_conditions(machine)
    assert (found.cpu, found.gpu, found.board, found.power_mode) == (
        "AMD EPYC 9654", "NVIDIA L4 (driver 570.86.15)", None, None,
    )  # fmt: skip
    assert (found.commit, found.dirty) == (None, None)
    assert "no Jetson: nothing here says how fast one is" in found.markdown()
    machine.commands["nvidia-smi"] = "1410, 45, [N/A]\n"
    state = read_state(machine)
    assert (state.cpu_mhz, state.gpu_mhz, state.temperature_c, state.power_w) == (2500.0, 1410.0, 45.0, None)


def test_clocks_come_from_the_governor_where_there_is_one() -> None:
    machine = StagedMachine(
        files={"/proc/loadavg": "0 0 0 1/1 1", "/cpu0": "1510400\n", "/cpu1": "700000\n"}, devices=["/cpu0", "/cpu1"]
    )
    assert read_state(machine).cpu_mhz == pytest.approx(1105.2)


def test_this_machine_is_named() -> None:
    found = read_conditions(ThisMachine())
    assert found.cpu
    assert found.cores >= 1
    assert found.python in found.markdown()
    assert read_state(ThisMachine()).load >= 0
