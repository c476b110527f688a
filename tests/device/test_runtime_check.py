"""Which runtime is fastest here: `doctor --runtimes`."""

from __future__ import annotations

import importlib.util
import json

import pytest

from device import doctor as doctor_module
from device import runtime_check
from device.cli import main
from device.config import load_config
from device.doctor import check_speed
from device.runtime_check import RuntimeTrial, runtimes_here, try_runtimes
from smartbin.bundle import read_bundle
from smartbin.classifier import ClassifierOutput
from smartbin.engine.options import EngineSettings
from smartbin.errors import InferenceError
from smartbin.runtime import open_classifier


def test_every_runtime_here_gives_the_same_answers(tiny_bundle):
    names = runtimes_here()
    assert names[0] == "onnxruntime-cpu"
    assert ("openvino-cpu" in names) == (importlib.util.find_spec("openvino") is not None)
    trials, skipped = try_runtimes(read_bundle(tiny_bundle), names, 1, EngineSettings())
    assert {trial.runtime for trial in trials} | {text.partition(":")[0] for text in skipped} == set(names)
    assert all(trial.agrees and trial.frame_ms > 0 for trial in trials)
    assert [trial.frame_ms for trial in trials] == sorted(trial.frame_ms for trial in trials)


def test_a_runtime_that_does_not_start_is_said_and_one_that_answers_otherwise_is_marked(monkeypatch, tiny_bundle):
    def opened(bundle, name, threads, engine):
        if name == "tensorrt":
            raise InferenceError("there is no engine of this bundle")
        classifier = open_classifier(bundle, "onnxruntime-cpu", threads, engine)
        if name == "openvino-cpu":
            right = classifier.classify
            classifier.classify = lambda batch: ClassifierOutput(
                right(batch).probabilities[:, ::-1], right(batch).energy
            )
        return classifier

    monkeypatch.setattr(runtime_check, "open_classifier", opened)
    names = ["onnxruntime-cpu", "openvino-cpu", "tensorrt"]
    trials, skipped = try_runtimes(read_bundle(tiny_bundle), names, 1, EngineSettings())
    assert {trial.runtime: trial.agrees for trial in trials} == {"onnxruntime-cpu": True, "openvino-cpu": False}
    assert skipped == ["tensorrt: there is no engine of this bundle"]


@pytest.mark.parametrize(
    ("openvino", "level", "advice"),
    [
        (RuntimeTrial("openvino-cpu", 2.0, 0.0, agrees=True), "warn", 'runtime = "openvino-cpu"'),
        (RuntimeTrial("openvino-cpu", 2.9, 0.0, agrees=True), "ok", ""),
        (RuntimeTrial("openvino-cpu", 2.0, 0.4, agrees=False), "ok", ""),
    ],
)
def test_doctor_advises_a_runtime_that_is_clearly_faster_and_right(monkeypatch, tiny_bundle, openvino, level, advice):
    trials = [openvino, RuntimeTrial("onnxruntime-cpu", 3.0, 0.0, agrees=True)]
    monkeypatch.setattr(doctor_module, "try_runtimes", lambda *_: (trials, ["tensorrt: no engine"]))
    check = check_speed(load_config(None, {"runtime.bundle": str(tiny_bundle)}))
    assert check.level == level
    assert advice in check.fix
    assert "3.00 ms" in check.found
    assert "tensorrt: no engine" in check.found


def test_the_command(tiny_bundle, capsys):
    main(["doctor", "--runtimes", "--bundle", str(tiny_bundle), "--json"])
    checks = {found["name"]: found for found in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "onnxruntime-cpu" in checks["runtimes"]["found"]


def test_a_missing_bundle_is_said(tmp_path):
    check = check_speed(load_config(None, {"runtime.bundle": str(tmp_path / "none")}))
    assert check.level == "fail"
    assert check.fix
