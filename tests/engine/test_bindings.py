"""Every name, parameter and enum member of `smartbin.engine.trt` is there in TensorRT's real Python bindings.

The bindings import without TensorRT and without a GPU once small libraries export the symbols that they ask for; gcc
makes these here. What they return is nothing, but the names and the signatures are the real ones.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from smartbin.engine import trt
from tests.conftest import REPOSITORY

WHEELS = REPOSITORY / ".venv" / "tensorrt-bindings"
VERSIONS = ("10.3.0", "11.4.0.106")
ENUMS = {"NetworkDefinitionCreationFlag", "MemoryPoolType", "DeviceType", "BuilderFlag", "TensorIOMode", "DataType"}
CLASSES = {
    name: item
    for name, item in vars(trt).items()
    if inspect.isclass(item) and item.__module__ == trt.__name__ and name not in {"TensorRt", "Severity", *ENUMS}
}
ASK = """
import json, tensorrt_bindings as trt
from smartbin.engine.callbacks import make_log, make_progress
log, steps = make_log(trt), []
log.log(trt.ILogger.Severity.WARNING, "slow")
log.log(trt.ILogger.Severity.ERROR, "no way")
monitor = make_progress(trt, lambda *step: steps.append(step))
monitor.phase_start("build", None, 2), monitor.step_complete("build", 0), monitor.phase_finish("build")
def doc(item): return (item.__doc__ or "") if callable(item) else None
print(json.dumps({
    "version": trt.__version__,
    "classes": {name: {key: doc(getattr(item, key)) for key in [*dir(item), "__init__"]}
                for name, item in vars(trt).items() if isinstance(item, type)},
    "enums": {name: list(item.__members__) for name, item in vars(trt).items() if hasattr(item, "__members__")},
    "callbacks": [log.problems, steps, isinstance(log, trt.ILogger), isinstance(monitor, trt.IProgressMonitor)],
    "severity": list(trt.ILogger.Severity.__members__),
}))
"""


@pytest.fixture(scope="module", params=VERSIONS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What the bindings of one version hold: docstrings of methods by class, members by enum."""
    version = str(request.param)
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = next(WHEELS.glob(f"tensorrt_cu*_bindings-{version}-{tag}-*.whl"), None)
    if wheel is None:
        pytest.skip(f"TensorRT's bindings {version} are not in {WHEELS}: tools/tensorrt_bindings.sh")
    if shutil.which("gcc") is None or shutil.which("nm") is None:
        pytest.skip("gcc or nm is not installed")
    place = tmp_path_factory.mktemp("bindings")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    make_libraries(next(place.rglob("tensorrt.so")), place, version.split(".")[0])
    environment = {**os.environ, "LD_LIBRARY_PATH": str(place), "PYTHONPATH": f"{place}:{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    assert str(found["version"]) == version
    return found


def make_libraries(bindings: Path, place: Path, major: str) -> None:
    """Libraries of the right names with every function that the bindings import from TensorRT."""
    listed = subprocess.run(["nm", "-D", "--undefined-only", bindings], capture_output=True, text=True, check=True)
    functions = re.findall(
        r" U (create\w+|get\w+PluginRegistry|getPluginRegistry|getNv\w+|initLib\w+)$", listed.stdout, re.M
    )
    assert "createInferBuilder_INTERNAL" in functions
    source = place / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in functions), encoding="ascii")
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        library = f"lib{name}.so.{major}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", place / library, source]
        subprocess.run(command, check=True)


def own(item: type) -> dict[str, object]:
    """What a protocol asks for: methods, properties and annotated attributes."""
    methods = {name: value for name, value in vars(item).items() if not name.startswith("_")}
    return {**dict.fromkeys(item.__annotations__), **methods}


def parameters(text: str) -> list[list[str]]:
    """Names behind `self` of each signature in a docstring of pybind11."""
    signatures = re.findall(r"^(?:\d+\. )?\w+\((self: [^\n]*|\*args[^\n]*)\) -> ", text, re.M)
    named = [re.findall(r"(\w+): ", re.sub(r"\[[^\]]*\]|= <[^>]*>", "", signature)) for signature in signatures]
    return [names[1:] for names in named if names]


def test_callbacks_are_made_of_the_real_base_classes(real: dict[str, dict[str, object]]) -> None:
    told = [["build", 0, 2], ["build", 1, 2], ["build", 2, 2]]
    assert real["callbacks"] == [["no way"], told, True, True]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_class_has_what_smartbin_uses(real: dict[str, dict[str, object]], name: str) -> None:
    classes = real["classes"]
    assert name in classes
    there = classes[name]
    assert isinstance(there, dict)
    for member, value in own(CLASSES[name]).items():
        assert member in there, f"{name}.{member}"
        if not inspect.isfunction(value):
            continue
        ours = list(inspect.signature(value).parameters)[1:]
        theirs = parameters(there[member])
        if name in {"ILogger", "IProgressMonitor"}:  # overridden: the documentation has the names, pybind11 does not
            continue
        assert ours in [names[: len(ours)] for names in theirs], f"{name}.{member}: {theirs}"


def test_enums_have_the_members(real: dict[str, dict[str, object]]) -> None:
    for name in ENUMS:
        assert set(vars(trt)[name].__annotations__) <= set(real["enums"][name]), name  # type: ignore[arg-type]
    assert set(trt.Severity.__annotations__) <= set(real["severity"])


@pytest.mark.parametrize(
    ("name", "first"), [("Builder", ["logger"]), ("OnnxParser", ["network", "logger"]), ("Runtime", ["logger"])]
)
def test_objects_are_made_of_what_smartbin_gives_them(
    real: dict[str, dict[str, object]], name: str, first: list[str]
) -> None:
    there = real["classes"][name]
    assert isinstance(there, dict)
    assert list(inspect.signature(getattr(trt.TensorRt, name)).parameters)[1:] == first
    assert first in [names[: len(first)] for names in parameters(there["__init__"])]
    assert name in trt.TensorRt.__dict__


def test_a_name_that_is_not_there_would_be_noticed(real: dict[str, dict[str, object]]) -> None:
    """Precision by flag is gone from 11: the test would refuse it."""
    flags = real["enums"]["BuilderFlag"]
    assert isinstance(flags, list)
    assert ("FP16" in flags) is str(real["version"]).startswith("10.")
    classes = real["classes"]
    assert "int8_calibrator" in classes["IBuilderConfig"] or str(real["version"]).startswith("11.")  # type: ignore[operator]
    assert "execute_async_v2" not in classes["IExecutionContext"]  # type: ignore[operator]
