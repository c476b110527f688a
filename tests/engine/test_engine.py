"""Engines: built in a child process, kept under a key, loaded, run. TensorRT and the GPU are `fake_tensorrt`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from smartbin.bundle import Bundle, builtin_bundle_path, read_bundle
from smartbin.engine.builder import build_engine
from smartbin.engine.cache import PLAN_FILE, DamagedEntryError, EngineCache
from smartbin.engine.classifier import TensorRtClassifier
from smartbin.engine.key import EngineKey, GpuFacts, driver_of, engine_key
from smartbin.engine.options import EngineOptions
from smartbin.engine.trt import load_tensorrt
from smartbin.errors import InferenceError
from smartbin.ort_classifier import OrtClassifier
from tests.engine.fake_tensorrt import ORIN, FakeGpu

FAKE = "tests.engine.fake_tensorrt"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(builtin_bundle_path())


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def key_of(bundle: Bundle, options: EngineOptions | None = None, gpu: GpuFacts = ORIN) -> EngineKey:
    return engine_key(bundle, options or EngineOptions(), gpu, "10.3.0", "CUDA 12.6, driver 540.4.0")


def quiet(phase: str, done: int, steps: int) -> None:
    pass


@pytest.fixture
def images(bundle: Bundle) -> NDArray[np.uint8]:
    size = bundle.manifest.preprocess.size
    return np.random.default_rng(0).integers(0, 255, (7, size, size, 3), np.uint8)


@pytest.fixture
def opened(bundle: Bundle, cache: EngineCache) -> Callable[..., tuple[TensorRtClassifier, FakeGpu]]:
    def build_and_open(*, graph: bool = True, max_batch: int = 4) -> tuple[TensorRtClassifier, FakeGpu]:
        entry = build_engine(bundle, key_of(bundle, EngineOptions(max_batch=max_batch)), cache, quiet, module=FAKE)
        gpu = FakeGpu()
        trt = load_tensorrt(FAKE)
        return TensorRtClassifier.open(trt, entry.plan, bundle.manifest, max_batch, gpu, graph=graph), gpu

    return build_and_open


def test_engine_is_built_once_and_found_again(bundle: Bundle, cache: EngineCache) -> None:
    told: list[tuple[str, int, int]] = []
    options = EngineOptions(max_batch=8, workspace_mb=256, effort=5)
    key = key_of(bundle, options)
    assert cache.find(key) is None
    built = build_engine(bundle, key, cache, lambda *step: told.append(step), module=FAKE)
    assert told == [("Building Engine", done, 2) for done in (0, 1, 2, 2)]
    found = cache.find(key)
    assert found is not None
    assert found.record == built.record
    size = bundle.manifest.preprocess.size
    assert json.loads(found.plan.read_bytes()) == {
        "onnx": str(bundle.model_path.resolve()),
        "shapes": [[1, size, size, 3], [1, size, size, 3], [8, size, size, 3]],
        "strongly_typed": True,
        "workspace": 256 << 20,
        "level": 5,
        "dla": ["GPU", -1, []],
    }
    assert [path for path in cache.root.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "change",
    [
        {"onnx_sha256": "0" * 64},
        {"precision": "fp16"},
        {"size": 96},
        {"tensorrt": "11.4.0.106"},
        {"gpu": "NVIDIA H100"},
        {"compute_capability": "9.0"},
        {"driver": "CUDA 13.0, driver 580.0"},
        {"options": EngineOptions(max_batch=1)},
        {"options": EngineOptions(workspace_mb=64)},
        {"options": EngineOptions(dla_core=0)},
        {"options": EngineOptions(effort=1)},
        {"recipe": 0},
    ],
    ids="-".join,
)
def test_whatever_differs_an_engine_is_not_another_ones(
    bundle: Bundle, cache: EngineCache, change: dict[str, object]
) -> None:
    key = key_of(bundle)
    build_engine(bundle, key, cache, quiet, module=FAKE)
    assert cache.find(key.model_copy(update=change)) is None


def test_entry_moved_under_another_name_is_not_believed(
    bundle: Bundle, cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(bundle)
    other = key.model_copy(update={"gpu": "another"})
    entry = build_engine(bundle, key, cache, quiet, module=FAKE)
    entry.path.rename(cache.root / f"{other.precision}-{other.digest}")
    assert cache.find(other) is None
    assert "built for something else: gpu: Orin, not another" in caplog.text


def _cut(folder: Path) -> None:
    plan = folder / PLAN_FILE
    plan.write_bytes(plan.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "recorded is"),
        (lambda folder: (folder / PLAN_FILE).unlink(), "No such file"),
        (lambda folder: (folder / "entry.json").write_text("{}", encoding="ascii"), "does not fit"),
        (lambda folder: (folder / "entry.json").write_bytes(b"\xff\xfe"), "codec can't decode"),
    ],
    ids=["plan cut", "plan gone", "record empty", "record no text"],
)
def test_damaged_entry_is_noticed_and_replaced(
    bundle: Bundle,
    cache: EngineCache,
    damage: Callable[[Path], object],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = key_of(bundle)
    damage(build_engine(bundle, key, cache, quiet, module=FAKE).path)
    assert cache.find(key) is None
    assert said in caplog.text
    (listed,) = cache.entries()
    assert isinstance(listed, DamagedEntryError)
    build_engine(bundle, key, cache, quiet, module=FAKE)
    assert cache.find(key) is not None


def test_timings_are_kept_for_the_next_build_on_this_gpu_alone(bundle: Bundle, cache: EngineCache) -> None:
    key = key_of(bundle)
    build_engine(bundle, key, cache, quiet, module=FAKE)
    assert cache.timings(key) == b"measured;"
    build_engine(bundle, key_of(bundle, EngineOptions(max_batch=1)), cache, quiet, module=FAKE)
    assert cache.timings(key) == b"measured;measured;"
    assert cache.timings(key.model_copy(update={"driver": "another"})) == b""


def test_timings_of_another_version_are_measured_anew(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(bundle)
    cache.keep_timings(key, b"old;")
    monkeypatch.setenv("FAKE_TENSORRT", "timings")
    build_engine(bundle, key, cache, quiet, module=FAKE)
    assert cache.timings(key) == b"measured;"


@pytest.mark.parametrize(
    ("way", "what", "found"),
    [
        ("parse", "TensorRT cannot read the model", "no importer for Exotic"),
        ("build", "TensorRT cannot build an engine of the model", "no implementation for node Conv_7"),
        (
            "kill",
            "the process that builds the engine died; nothing was stored",
            "SIGKILL, most likely for want of memory",
        ),
        ("exit", "the process that builds the engine died; nothing was stored", "exit code 3"),
    ],
)
def test_build_that_fails_stores_nothing_and_keeps_what_was_there(
    bundle: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch, way: str, what: str, found: str
) -> None:
    key = key_of(bundle)
    build_engine(bundle, key, cache, quiet, module=FAKE)
    before = {path: path.read_bytes() for path in cache.root.rglob("*") if path.is_file()}
    monkeypatch.setenv("FAKE_TENSORRT", way)
    with pytest.raises(InferenceError) as failed:
        build_engine(bundle, key, cache, quiet, module=FAKE)
    assert failed.value.what == what
    assert found in str(failed.value.found)
    assert failed.value.exit_code == 5
    assert failed.value.fix
    assert {path: path.read_bytes() for path in cache.root.rglob("*") if path.is_file()} == before


def test_reader_that_goes_away_ends_the_child(bundle: Bundle, cache: EngineCache) -> None:
    def interrupt(phase: str, done: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(bundle, key_of(bundle), cache, interrupt, module=FAKE)
    assert list(cache.entries()) == []


def test_missing_tensorrt_is_said(bundle: Bundle, cache: EngineCache) -> None:
    with pytest.raises(InferenceError, match="TensorRT cannot be imported") as failed:
        build_engine(bundle, key_of(bundle), cache, quiet, module="no_tensorrt_here")
    assert "python3-libnvinfer" in str(failed.value.fix)


def test_accelerator_runs_what_it_can(bundle: Bundle, cache: EngineCache) -> None:
    key = key_of(bundle, EngineOptions(dla_core=1))
    plan = json.loads(build_engine(bundle, key, cache, quiet, module=FAKE).plan.read_bytes())
    assert plan["dla"] == ["DLA", 1, ["GPU_FALLBACK"]]
    with pytest.raises(InferenceError, match="no such deep learning accelerator") as failed:
        build_engine(bundle, key_of(bundle, EngineOptions(dla_core=2)), cache, quiet, module=FAKE)
    assert failed.value.expected == "0 to 1"


@pytest.mark.parametrize("graph", [True, False])
def test_answers_are_the_model_s_for_every_batch(
    bundle: Bundle,
    opened: Callable[..., tuple[TensorRtClassifier, FakeGpu]],
    images: NDArray[np.uint8],
    graph: bool,
) -> None:
    classifier, gpu = opened(graph=graph)
    allocated = gpu.allocations
    reference = OrtClassifier.open(bundle, device="cpu")
    for count in (1, 1, 1, 3, 3, 1, 7, 4, 4, 2):  # 7 goes in two pieces
        batch = images[:count]
        answers, expected = classifier.classify(batch), reference.classify(batch)
        np.testing.assert_allclose(answers.probabilities, expected.probabilities, atol=1e-5)
        np.testing.assert_allclose(answers.energy, expected.energy, atol=1e-4)
        assert gpu.pending == 0  # it was waited for
    assert gpu.allocations == allocated
    assert (gpu.launches > 0) is graph
    classifier.close()
    classifier.close()
    reference.close()
    with pytest.raises(InferenceError, match="closed"):
        classifier.classify(images[:1])


def test_graph_is_recorded_when_a_batch_comes_twice_in_a_row(
    opened: Callable[..., tuple[TensorRtClassifier, FakeGpu]], images: NDArray[np.uint8]
) -> None:
    classifier, gpu = opened()
    launches = []
    for count in (1, 2, 1, 1, 1, 2, 1):
        classifier.classify(images[:count])
        launches.append(gpu.launches)
    assert launches == [0, 0, 0, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("way", "said"),
    [("load", "not compatible with this version"), ("context", "no memory"), ("execute", "failed on an input")],
)
def test_engine_that_does_not_run_is_an_error_of_exit_code_5(
    opened: Callable[..., tuple[TensorRtClassifier, FakeGpu]],
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    said: str,
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT", way)
    with pytest.raises(InferenceError) as failed:
        opened()[0].classify(images[:1])
    assert said in str(failed.value)
    assert failed.value.exit_code == 5


def test_engine_of_another_bundle_is_refused_and_the_gpu_closed(
    bundle: Bundle, cache: EngineCache, tmp_path: Path
) -> None:
    entry = build_engine(bundle, key_of(bundle, EngineOptions(max_batch=2)), cache, quiet, module=FAKE)
    trt, gpu = load_tensorrt(FAKE), FakeGpu()
    fewer = bundle.manifest.model_copy(update={"classes": bundle.manifest.classes[:-1]})
    with pytest.raises(InferenceError, match="not of this bundle"):
        TensorRtClassifier.open(trt, entry.plan, fewer, 2, gpu)
    assert gpu.closed
    with pytest.raises(InferenceError, match="takes other batches") as failed:
        TensorRtClassifier.open(trt, entry.plan, bundle.manifest, 4, FakeGpu())
    assert (failed.value.found, failed.value.expected) == ("1 to 2", "1 to 4")


def test_driver_is_described_with_the_jetson_s_release(tmp_path: Path) -> None:
    release, version = tmp_path / "release", tmp_path / "version"
    assert driver_of(ORIN, release, version) == "CUDA 12.6"
    version.write_text("540.4.0\n", encoding="ascii")
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n# more\n", encoding="ascii")
    assert driver_of(ORIN, release, version) == "CUDA 12.6, driver 540.4.0, # R36 (release), REVISION: 4.3"
    version.write_text("", encoding="ascii")
    assert driver_of(ORIN, tmp_path / "none", version) == "CUDA 12.6"


def test_cache_is_listed_and_cleared(bundle: Bundle, cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert list(cache.entries()) == []
    for batch in (1, 2):
        build_engine(bundle, key_of(bundle, EngineOptions(max_batch=batch)), cache, quiet, module=FAKE)
    assert len(list(cache.entries())) == 2
    assert cache.clear() == 2
    assert not cache.root.exists()
    assert caplog.text == ""
