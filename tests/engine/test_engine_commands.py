"""`smartbin engine`, `doctor --engine` and the order of the runtimes, with `fake_tensorrt` in TensorRT's place."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.cli import main
from smartbin.bundle import MANIFEST_FILE, builtin_bundle_path, read_bundle
from smartbin.engine import opening
from smartbin.engine.cache import PLAN_FILE
from smartbin.engine.gpu import CudaGpu
from smartbin.engine.key import GpuFacts
from smartbin.engine.options import EngineSettings
from smartbin.errors import InferenceError
from smartbin.golden import TOLERANCES
from smartbin.runtime import open_classifier
from tests.conftest import REPOSITORY
from tests.engine.fake_tensorrt import ORIN, FakeGpu

BUILTIN = builtin_bundle_path()


@pytest.fixture
def orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """The machine becomes a Jetson with TensorRT, here and in child processes; called again, with another GPU.

    The built-in bundle is then one that was exported for TensorRT.
    """
    place = tmp_path / "site"
    place.mkdir()
    (place / "tensorrt.py").write_text("from tests.engine.fake_tensorrt import *\n__version__ = '10.3.0'\n", "ascii")
    monkeypatch.setenv("PYTHONPATH", f"{place}:{REPOSITORY}")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ours = tmp_path / "builtin"
    shutil.copytree(builtin_bundle_path(), ours)
    manifest = json.loads((ours / MANIFEST_FILE).read_text(encoding="utf-8"))
    (ours / MANIFEST_FILE).write_text(json.dumps({**manifest, "target": "tensorrt"}), encoding="utf-8")
    monkeypatch.setattr("smartbin.bundle._BUILTIN", ours)

    def become(facts: GpuFacts = ORIN) -> None:
        monkeypatch.setattr(opening.CudaGpu, "open", lambda: FakeGpu(facts))

    become()
    yield become
    sys.modules.pop("tensorrt", None)


def test_engine_is_built_listed_used_and_cleared(
    orin: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bundle = read_bundle(builtin_bundle_path())
    with pytest.raises(InferenceError, match="there is no engine of this bundle") as failed:
        open_classifier(bundle, "tensorrt")
    assert "smartbin engine build" in str(failed.value.fix)
    instead = open_classifier(bundle)
    assert instead.runtime == "onnxruntime-cpu"
    (reason,) = instead.passed_over
    assert reason.startswith("TensorRT is not used: there is no engine")
    assert "smartbin engine build" in reason
    assert reason in caplog.text

    assert main(["engine", "build"]) == 0
    assert "Orin, TensorRT 10.3.0: built in" in capsys.readouterr().out
    assert main(["engine", "build"]) == 0
    assert "--force builds it again" in capsys.readouterr().out
    assert main(["engine", "list"]) == 0
    listed = capsys.readouterr().out
    assert "Orin" in listed
    assert str(tmp_path / "cache" / "smartbin" / "engines") in listed
    for runtime in ("auto", "tensorrt"):
        classifier = open_classifier(bundle, runtime)
        assert (classifier.runtime, classifier.passed_over) == ("tensorrt", ())
        classifier.close()
    assert "runs on tensorrt" in caplog.text
    assert open_classifier(bundle, "onnxruntime-cpu").runtime == "onnxruntime-cpu"

    assert main(["engine", "clear"]) == 0
    assert "deleted 1 engines" in capsys.readouterr().out
    assert main(["engine", "list"]) == 0
    assert "no engines yet" in capsys.readouterr().out


def test_bundle_for_cpus_has_no_engine(
    orin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "build", "--bundle", str(BUILTIN)]) == 5
    assert "smartbin-export RUN --target tensorrt" in capsys.readouterr().err
    assert open_classifier(read_bundle(BUILTIN)).runtime == "onnxruntime-cpu"


def test_engine_is_not_used_on_another_gpu_or_with_other_settings(orin: Callable[..., None]) -> None:
    bundle = read_bundle(builtin_bundle_path())
    assert main(["engine", "build", "--max-batch", "2"]) == 0
    assert open_classifier(bundle, "tensorrt", engine=EngineSettings(max_batch=2)).runtime == "tensorrt"
    assert open_classifier(bundle, "tensorrt", engine=EngineSettings(max_batch=2, cuda_graph=False))
    with pytest.raises(InferenceError, match="no engine"):
        open_classifier(bundle, "tensorrt")
    orin(GpuFacts("NVIDIA H100", "9.0", "13.0"))
    with pytest.raises(InferenceError, match="no engine"):
        open_classifier(bundle, "tensorrt", engine=EngineSettings(max_batch=2))


def test_damaged_engine_is_listed_as_such(
    orin: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "build"]) == 0
    (plan,) = (tmp_path / "cache").rglob(PLAN_FILE)
    plan.write_bytes(b"other")
    capsys.readouterr()
    assert main(["engine", "list"]) == 0
    assert "damaged" in capsys.readouterr().out


def test_run_with_a_configured_engine(
    orin: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configuration that builds is the one that runs."""
    config = tmp_path / "bin.toml"
    config.write_text('[runtime]\nruntime = "tensorrt"\n[engine]\nmax_batch = 1\n', encoding="ascii")
    command = ["run", "--config", str(config), "--json", "-", "--view", "off", "--pace", "fast"]
    assert main(command) == 5
    assert "there is no engine" in capsys.readouterr().err
    assert main(["engine", "build", "--config", str(config)]) == 0
    capsys.readouterr()
    assert main(command) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any("decision" in json.dumps(event) for event in events)


@pytest.mark.parametrize(("flags", "code"), [(["--max-batch", "0"], 2), (["--bundle", "nowhere"], 3)])
def test_wrong_flags_are_refused(
    orin: Callable[..., None], flags: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "build", *flags]) == code
    assert "error: " in capsys.readouterr().err


def test_doctor_says_what_runs_and_why_nothing_faster(
    orin: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def check() -> dict[str, str]:
        capsys.readouterr()
        main(["doctor", "--json"])
        checks = map(json.loads, capsys.readouterr().out.splitlines())
        return next(dict(entry) for entry in checks if entry["name"] == "bundle that runs")

    before = check()
    assert before["level"] == "warn"
    assert "runs on onnxruntime-cpu" in before["found"]
    assert "TensorRT is not used: there is no engine" in before["fix"]
    assert main(["engine", "build"]) == 0
    after = check()
    assert (after["level"], after["fix"]) == ("ok", "")
    assert "runs on tensorrt" in after["found"]


def test_doctor_tries_the_engine(
    orin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def engine_check() -> dict[str, str]:
        main(["doctor", "--engine", "--json"])
        (check,) = (
            entry
            for entry in map(json.loads, capsys.readouterr().out.splitlines())
            if entry["name"] == "TensorRT engine"
        )
        return dict(check)

    first, second = engine_check(), engine_check()
    assert first["level"] == "ok"
    assert "built now" in first["found"]
    assert "from the cache" in second["found"]
    monkeypatch.setitem(TOLERANCES, "int8", -1.0)
    assert engine_check()["level"] == "fail"


def test_without_a_gpu_cuda_says_so() -> None:
    """The real cuda-python, where there is no GPU."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    status, count = runtime.cudaGetDeviceCount()
    if status == runtime.cudaError_t.cudaSuccess and count:
        pytest.skip("there is a GPU here")
    with pytest.raises(InferenceError, match=r"CUDA failed|no GPU") as failed:
        CudaGpu.open()
    assert failed.value.exit_code == 5
