from __future__ import annotations

import json

import numpy as np
import pytest

from device import doctor as doctor_module
from device import machine_checks
from device.camera_check import CameraTrial, try_camera
from device.camera_settings import Answer, CameraMode
from device.cli import main
from device.clock import ManualClock
from device.config import DeviceConfig, SourceSettings, load_config
from device.doctor import check_camera, doctor
from device.machine import ThisMachine
from device.machine_checks import Check, check_bundle, examine
from device.opencv_camera import OpenCvCamera
from smartbin.brightness import Exposure
from smartbin.errors import CameraError
from tests.device.staged_machine import PIP_BUILD, StagedMachine, jetson
from tests.device.staging import FakeCapture


@pytest.fixture(autouse=True)
def whole_bundle(monkeypatch, tiny_bundle):
    monkeypatch.setattr(machine_checks, "builtin_bundle_path", lambda: tiny_bundle)


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
    monkeypatch.setattr(machine_checks, "builtin_bundle_path", lambda: tmp_path)
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

    def look(self, tmp_path, capsys, machine, toml=CONFIG, names=("sink ", "presence")):
        (tmp_path / "bin.toml").write_text(toml)
        code = doctor(as_json=True, machine=machine, config=load_config(tmp_path / "bin.toml", {}))
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return code, [record for record in records if record["name"].startswith(names)]

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

    @pytest.mark.parametrize(
        ("table", "flaps", "told"),
        [
            ("red = 'a'\ngreen = 'a'\nblue = 'b'\nuncertain = 'b'", "ab", []),
            ("red = 'a'\ngreen = 'a'\nblue = 'b'", "ab", ["no flap for general"]),
            ("red = 'a'\ngreen = 'a'\nuncertain = 'a'", "ax", ["no flap for blue; nothing opens x"]),
        ],
    )
    def test_flaps_and_decisions_have_the_same_names(self, tmp_path, capsys, tiny_bundle, table, flaps, told):
        pins = "".join(f"[sinks.gpio.bins.{name}]\nservo = {pin}\n" for pin, name in enumerate(flaps, 10))
        bundle = f"[runtime]\nbundle = '{tiny_bundle}'\n"
        toml = f"{bundle}[decision.bins]\n{table}\n[sinks.gpio]\nenabled = true\n{pins}"
        _, checks = self.look(tmp_path, capsys, StagedMachine(), toml, ("flaps",))
        assert [check["found"] for check in checks] == told

    @pytest.mark.parametrize(("board", "extra"), [("gpiozero", "gpio"), ("jetson", "jetson")])
    def test_the_presence_sensor_s_library(self, tmp_path, capsys, board, extra):
        _, (check,) = self.look(tmp_path, capsys, StagedMachine(), f"[sensor]\npin = 15\nboard = '{board}'\n")
        assert (check["name"], check["level"]) == ("presence sensor", "fail")
        assert f"smartbin[{extra}]" in check["fix"]

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


class TestCamera:
    def capture(self, clock, *, fails=()):
        """A camera of 20 frames a second; reads whose numbers are in `fails` give nothing."""

        class Twenty(FakeCapture):
            reads = 0

            def read(self):
                clock.advance(0.05)
                self.reads += 1
                picture = np.full((48, 64, 3), 100 + self.reads % 2, np.uint8)
                return (False, None) if self.reads in fails else (True, picture)

        return Twenty()

    def trial(self, capture, clock, uri="camera:0"):
        def opener(source, mode: CameraMode, clock):
            return OpenCvCamera(source, mode, clock, capture.open, lambda device: None)

        return try_camera(SourceSettings(uri=uri, width=1280), clock, opener)

    def test_rate_light_and_answers_are_found_out(self):
        clock = ManualClock()
        capture = self.capture(clock, fails=(20, 21))
        trial = self.trial(capture, clock)
        assert (trial.width, trial.height, trial.unfit) == (64, 48, 2)
        assert trial.fps == pytest.approx(19, abs=1.1)
        assert trial.exposure.mean_luma == pytest.approx(100 / 255, abs=0.01)
        assert trial.answers == (Answer("width", "1280", "0", taken=False),)
        assert capture.released == 1

    def test_a_scene_is_no_camera(self):
        with pytest.raises(CameraError, match="not a camera"):
            self.trial(FakeCapture(), ManualClock(), "scene")

    @pytest.mark.parametrize(
        ("trial", "level", "said"),
        [
            (CameraError("cannot open the camera", where="/dev/video0", fix="plug it in"), "fail", "/dev/video0"),
            ({"unfit": 0, "answers": ()}, "ok", "640 x 480, 29.9 frames a second"),
            ({"unfit": 3, "answers": ()}, "warn", "3 unfit frames"),
            (
                {"unfit": 0, "answers": (Answer("fps", "60", "30", taken=False),)},
                "warn",
                "asked for fps 60, it gives 30",
            ),
        ],
    )
    def test_the_check(self, monkeypatch, trial, level, said):
        def staged(settings, clock):
            if isinstance(trial, CameraError):
                raise trial
            return CameraTrial("/dev/video0", 640, 480, 29.9, Exposure(0.4, 0.0), **trial)

        monkeypatch.setattr(doctor_module, "try_camera", staged)
        check = check_camera(DeviceConfig())
        assert check.level == level
        assert said in check.found
        assert bool(check.fix) is (level != "ok")

    def test_from_the_command_line(self, capsys):
        assert main(["doctor", "--json", "--camera", "/dev/video99"]) == 1
        captured = capsys.readouterr()
        check = json.loads(captured.out.splitlines()[-1])
        assert (check["name"], check["level"]) == ("camera", "fail")
        assert "/dev/video99" in check["found"]
