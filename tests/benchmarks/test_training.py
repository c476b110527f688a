"""Training beside the original loop, and memory as photos grow, at toy size through the real entry point."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import training_scenario
from benchmarks.memory_scenario import _write_copies, run_memory
from benchmarks.original_loop import EpochTimes, OriginalLoop, image_folders
from benchmarks.report import Report
from benchmarks.run import main
from benchmarks.side_process import SideProcess
from benchmarks.training_scenario import ORIGINAL, _race, _Runner, parse_ours
from smartbin.errors import ConfigError
from smartbin.images import LabelledPhoto, list_images
from tests.train.tiny import NAME, register_tiny
from train.networks.architectures import architecture_of

SMALL = "timm:test_resnet"
"""A network of 160 px that processes started for it know, too."""
FLAGS = ("--model", SMALL, "--weights", "none", "--workers", "0", "--device", "cpu", "--batch", "8")


@pytest.fixture(autouse=True)
def _tiny_network() -> Iterator[None]:
    register_tiny()
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def photos(photo_folder: Callable[..., Path]) -> Path:
    return photo_folder({"bottle": 14, "can": 12, "carton": 11})


def test_smartbin_and_the_original_loop_take_turns(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "training.json"
    ours = ["--ours", "plain", "--ours", "small: --train-size 32 --precision fp32 --augment-on device"]
    arguments = [
        "training",
        "--photos",
        str(photos),
        "--freeze",
        "1",
        "--target",
        "0.0",
        "--epochs",
        "2",
        *FLAGS,
        *ours,
    ]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capfd.readouterr()
    (table,) = Report.model_validate_json(out.read_text(encoding="utf-8")).tables
    assert [row[0] for row in table.rows] == [ORIGINAL, "plain", "small"]
    assert table.rows[0][2] == 1  # the original's own ratio
    assert all(isinstance(cell, float) and cell > 0 for row in table.rows for cell in row[1:8])
    assert "training photos on the device" in printed.err
    assert "data:" not in printed.out  # the report alone
    assert "25 training and 6 validation photos" in printed.out


def test_target_that_is_not_reached_is_a_dash(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--epochs", "1", "--ours", "smartbin: --train-size 32"]
    assert (
        main(["training", "--photos", str(photos), "--freeze", "0", "--target", "1.01", "--limit", "5", *FLAGS, *flags])
        == 0
    )
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith((f"| {ORIGINAL}", "| smartbin"))]
    assert [row.split("|")[7:9] for row in rows] == [[" – ", " – "]] * 2


def test_every_lap_begins_with_another_and_set_up_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(training_scenario.time, "perf_counter", lambda: float(next(ticks)))
    order: list[str] = []

    def start(name: str, accuracies: list[float]) -> Callable[[], EpochTimes]:
        def epoch() -> EpochTimes:
            order.append(name)
            return EpochTimes(10, 2.0, 1.0, accuracies.pop(0))

        return epoch

    runners = [_Runner(name, lambda name=name: start(name, [0.5, 0.8, 0.9])) for name in "abc"]  # type: ignore[misc]
    _race(runners, 3)
    assert "".join(order) == "abcbcacab"
    assert [runner.set_up_s for runner in runners] == [1.0] * 3
    assert runners[1].seconds_to(0.8) == 1 + 2 * 3
    assert runners[1].seconds_to(0.95) is None
    assert runners[1].photos_per_second == 5


def test_candidates_have_names_of_their_own() -> None:
    assert parse_ours(["a", "b: --freeze 7 --views 4"]) == {"a": [], "b": ["--freeze", "7", "--views", "4"]}
    assert list(parse_ours([])) == ["smartbin"]
    for wrong in (["a", "a: --x"], [" : --x"], [ORIGINAL]):
        with pytest.raises(ConfigError, match="name of its own"):
            parse_ours(wrong)


def test_original_loop_trains_the_last_children_only(photos: Path) -> None:
    listed = [LabelledPhoto(path, path.parent.name) for path in list_images(photos)]
    with image_folders({"train": listed, "val": listed[::3]}) as folders:
        loop = OriginalLoop(
            folders, architecture_of(NAME), weights="none", freeze=1, size=32, batch=8, workers=0,
            device=torch.device("cpu"),
        )  # fmt: skip
        before = {name: value.clone() for name, value in loop.model.state_dict().items()}
        times = loop.epoch()
    assert times.photos == len(listed)
    changed = {name for name, value in loop.model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"back.0.weight", "fc.weight"} <= changed
    assert "front.0.weight" not in changed
    assert "front.1.running_mean" in changed  # left in training mode, as it was there
    assert not folders.exists()


def test_memory_is_measured_in_processes_of_their_own(photos: Path) -> None:
    table = run_memory(photos, limit=9, workers=1, times=(1,))
    (row,) = table.rows
    assert row[:2] == ("1 ×", 9)
    assert all(isinstance(cell, float) and cell > 0 for cell in row[2:])
    assert all(isinstance(cell, float) and cell > 50 for cell in row[-3:])  # MB: torch alone takes more


def test_copies_of_photos_differ(photos: Path, tmp_path: Path) -> None:
    originals = list_images(photos)[:5]
    for number in range(3):
        _write_copies(originals, tmp_path / "copies", number)
    copies = list_images(tmp_path / "copies")
    assert len(copies) == 15
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in copies}) == 15


def _steps() -> Callable[[], int]:
    numbers = iter((5, os.getpid()))
    return lambda: next(numbers, None) or os._exit(3)


def _next(steps: Callable[[], int]) -> int:
    return steps()


def _no_start() -> Callable[[], int]:
    raise ConfigError("nothing to count")


def test_a_side_process_keeps_its_state_and_hands_errors_over() -> None:
    with SideProcess(_steps) as process:
        process.wait_until_started()
        assert process.ask(_next) == 5
        assert process.ask(_next) != os.getpid()
        with pytest.raises(RuntimeError, match="exit code 3"):
            process.ask(_next)
    with SideProcess(_no_start) as process, pytest.raises(ConfigError, match="nothing to count"):
        process.wait_until_started()
