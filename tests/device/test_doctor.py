from __future__ import annotations

import json

import pytest

from device import doctor as doctor_module
from device.config import load_config
from device.doctor import Check, check_bundle, doctor, examine
from device.machine import ThisMachine
from tests.device.staged_machine import PIP_BUILD, StagedMachine, jetson


@pytest.fixture(autouse=True)
def whole_bundle(monkeypatch, tiny_bundle):
    monkeypatch.setattr(doctor_module, "builtin_bundle_path", lambda: tiny_bundle)


def found(machine) -> dict[str, Check]:
    return {check.name: check for check in examine(machine)}


def test_a_laptop_is_well():
    checks = found(StagedMachine())
    assert {check.level for check in checks.values()} == {"ok"}
    assert checks["Jetson"].found == "this is none"
    assert "tiny 1 (fp32) runs on onnxruntime-cpu" in checks["built-in bundle"].found


def test_openvino_is_named_where_it_is_installed():
    assert "OpenVINO" not in found(StagedMachine())
    modules = {"numpy": "2", "cv2": "4", "onnxruntime": "1", "openvino": "2026.1"}
    check = found(StagedMachine(modules=modules))["OpenVINO"]
    assert (check.level, check.found[:6]) == ("ok", "2026.1")
    assert "openvino-cpu" in check.found


def test_a_jetson_is_well():
    checks = found(jetson())
    assert {check.level for check in checks.values()} == {"ok"}
    assert checks["Jetson"].found == "NVIDIA Jetson Orin Nano Developer Kit, L4T 36.4.3, JetPack 6.2+b77"
    assert checks["power mode"].found == "MAXN_SUPER"
    assert checks["TensorRT"].found == "10.3.0"


@pytest.mark.parametrize(
    ("machine", "name", "level", "advice"),
    [
        (jetson(build=PIP_BUILD), "OpenCV GStreamer", "warn", "--system-site-packages"),
        (jetson(providers=["CPUExecutionProvider"]), "ONNX Runtime CUDA", "warn", "onnxruntime-gpu"),
        (jetson(modules={"numpy": "1", "cv2": "4", "onnxruntime": "1"}), "TensorRT", "warn", "libnvinfer"),
        (jetson(commands={"nvpmodel": "NV Power Mode: 15W\n0"}), "power mode", "warn", "nvpmodel -m 0"),
        (jetson(commands={}), "power mode", "warn", "nvpmodel -q"),
        (jetson(files={"/etc/nv_tegra_release": "# R32 (release), REVISION: 7.1,"}), "Jetson", "warn", "JetPack 6"),
        (StagedMachine(devices=[]), "cameras", "warn", "plug in"),
        (StagedMachine(allowed=False), "cameras", "warn", "usermod -aG video ada"),
        (StagedMachine(build=""), "OpenCV FFmpeg", "warn", "another build"),
        (StagedMachine(build=""), "OpenCV V4L2", "warn", "another build"),
        (StagedMachine(modules={"numpy": "2", "onnxruntime": "1"}), "OpenCV", "fail", "pip install"),
        (StagedMachine(modules={"cv2": "4", "onnxruntime": "1"}), "numpy", "fail", "pip install"),
        (StagedMachine(providers=[]), "ONNX Runtime", "fail", "pip install onnxruntime"),
        (StagedMachine(python=("3.9.2", "x86_64", "a")), "Python", "fail", "3.10"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(machine, name, level, advice):
    check = found(machine)[name]
    assert check.level == level
    assert advice in check.fix


def test_a_damaged_bundle_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_module, "builtin_bundle_path", lambda: tmp_path)
    (check,) = check_bundle(StagedMachine())
    assert check.level == "fail"


def test_exit_codes_and_table(capsys):
    assert doctor(as_json=False, machine=StagedMachine()) == 0
    assert "all is well" in capsys.readouterr().out
    assert doctor(as_json=False, machine=StagedMachine(devices=[])) == 0
    assert "1 to look at" in capsys.readouterr().out
    assert doctor(as_json=False, machine=StagedMachine(providers=[])) == 1
    assert "1 broken" in capsys.readouterr().out


class TestSinks:
    CONFIG = (
        "[sinks.mqtt]\nenabled = true\n[sinks.serial]\nenabled = true\n"
        "[sinks.gpio]\nenabled = true\n[sinks.gpio.bins.a]\nchannel = 1\n"
    )

    def look(self, tmp_path, capsys, machine, toml=CONFIG):
        (tmp_path / "bin.toml").write_text(toml)
        code = doctor(as_json=True, machine=machine, config=load_config(tmp_path / "bin.toml", {}))
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return code, [record for record in records if record["name"].startswith("sink ")]

    def test_what_is_missing_is_named(self, tmp_path, capsys):
        code, checks = self.look(tmp_path, capsys, StagedMachine(allowed=False))
        assert code == 1
        assert {check["level"] for check in checks} == {"fail"}
        fixes = " ".join(check["fix"] for check in checks)
        for extra in ("mqtt", "gpio", "servo-board", "serial"):
            assert f"smartbin[{extra}]" in fixes
        assert "dialout" in fixes

    def test_what_is_there_is_well(self, tmp_path, capsys):
        more = dict.fromkeys(("paho.mqtt", "gpiozero", "adafruit_pca9685", "adafruit_motor", "serial"), "2.1")
        code, checks = self.look(tmp_path, capsys, StagedMachine(modules={**StagedMachine().modules, **more}))
        assert code == 0
        assert {check["level"] for check in checks} == {"ok"}
        assert "paho.mqtt 2.1" in [check["found"] for check in checks]

    def test_a_jetson_s_library(self, tmp_path, capsys):
        toml = "[sinks.gpio]\nenabled = true\nboard = 'jetson'\n[sinks.gpio.bins.a]\nservo = 33\n"
        _, (check,) = self.look(tmp_path, capsys, StagedMachine(), toml)
        assert "smartbin[jetson]" in check["fix"]

    def test_sinks_that_are_off_are_not_mentioned(self, tmp_path, capsys):
        assert self.look(tmp_path, capsys, StagedMachine(), "") == (0, [])


def test_json(capsys):
    assert doctor(as_json=True, machine=jetson()) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(record) == {"name", "level", "found", "fix"} for record in records)


def test_this_very_machine_can_be_asked():
    checks = found(ThisMachine())
    assert checks["Python"].level == "ok"
    assert checks["OpenCV"].level == "ok"
    machine = ThisMachine()
    assert machine.read("/nowhere") is None
    assert machine.run("no-such-command-at-all") is None
    assert machine.run("false") is None
    assert machine.version_of("no_such_module_at_all") is None
