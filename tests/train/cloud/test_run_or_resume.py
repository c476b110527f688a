"""`run_or_resume.sh`, stopped and lost and started again as clouds do it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.train.cloud.machines import SCRIPT, Machine, interrupt, terminate, terminate_all, terminate_often, vanish
from tests.train.conftest import FLAGS
from tests.train.test_run import assert_same_weights
from train.checkpoint import load_run, load_state
from train.finish import git_commit
from train.run import main


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tiny_network_goes_on_to_the_same_result_on_another_machine(tmp_path: Path, photos: Path) -> None:
    """Stopped in the third epoch by signals to all processes; the second machine has only the mirror."""
    flags = ["--data", str(photos), "--epochs", "5", *FLAGS, "--dropout", "0.4", "--mixup", "0.3"]
    whole = tmp_path / "whole"
    assert main([*flags, "--out", str(whole)]) == 0

    first = Machine(tmp_path / "first", tmp_path / "bucket" / "run", flags, TRAIN="-m tests.train.tiny", MIRROR_S="0.5")
    code, output = first.stop_at("epoch   2/", terminate_all)
    assert code == 143, output
    assert f"stopped, state saved: {first.run}" in output
    assert not (first.run / "model.safetensors").exists()
    assert 2 <= load_state(first.run)["epoch"] < 5

    shutil.rmtree(tmp_path / "first")
    second = Machine(tmp_path / "second", first.mirror, flags, TRAIN="-m tests.train.tiny", MIRROR_S="0.5")
    code, output = second.finish()
    assert code == 0, output
    assert f"brought {second.run} back from {first.mirror}" in output
    assert "resumed after epoch" in output
    assert_same_weights(whole, second.run)
    assert load_run(second.mirror).epochs == 5
    assert contents(second.mirror) == {
        name: data for name, data in contents(second.run).items() if name != Path(".mirrored")
    }


@pytest.mark.parametrize("send", [terminate, terminate_often, terminate_all, interrupt])
def test_stopped_and_started_again(tmp_path: Path, send: Callable[[int], None]) -> None:
    machine = Machine(tmp_path / "disk", tmp_path / "mirror", ["--hold", "3"])
    code, output = machine.stop_at("epoch 3", send)
    assert code == 143, output
    assert "saved\n" in output
    code, output = machine.finish()
    assert code == 0, output
    assert "begins after epoch 2" in output
    assert "finished:" in output


def test_machine_that_vanishes_loses_only_what_came_after_the_last_copy(tmp_path: Path) -> None:
    first = Machine(tmp_path / "first", tmp_path / "mirror", ["--hold", "3"])

    def vanish_once_copied(process: int) -> None:
        deadline = time.monotonic() + 60
        while not (first.mirror / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        vanish(process)

    code, output = first.stop_at("epoch 3", vanish_once_copied)
    assert code == -9, output
    copied = int((first.mirror / "checkpoint.pt").read_text(encoding="ascii"))
    second = Machine(tmp_path / "second", first.mirror)
    code, output = second.finish()
    assert code == 0, output
    assert f"begins after epoch {copied}\n" in output
    assert (second.mirror / "plots" / "curve.txt").read_text(encoding="ascii") == "a curve"


def test_half_a_copy_is_no_copy(tmp_path: Path) -> None:
    """What a machine leaves that is lost while it copies, or while it brings a run back."""
    first = Machine(tmp_path / "disk", tmp_path / "mirror", ["--hold", "3"])
    assert first.stop_at("epoch 3", terminate)[0] == 143
    shutil.rmtree(first.run)
    (first.mirror / "checkpoint.pt.part").write_text("1", encoding="ascii")
    first.run.with_name("run.part").mkdir()
    code, output = first.finish()
    assert code == 0, output
    assert "begins after epoch 2" in output


def test_run_that_goes_on_looks_for_its_photos_where_they_are_now(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "disk", tmp_path / "mirror", ["--hold", "2", "--data-root", "/first"])
    assert machine.stop_at("epoch 2", terminate)[0] == 143
    machine.environment["SMARTBIN_DATA"] = "/second/place of photos"
    assert machine.finish()[0] == 0
    assert 'data_root = "/second/place of photos"\n' in (machine.run / "config.toml").read_text(encoding="ascii")


def test_finished_run_is_left_alone_wherever_it_is(tmp_path: Path) -> None:
    first = Machine(tmp_path / "first", tmp_path / "mirror")
    assert first.finish()[0] == 0
    second = Machine(tmp_path / "second", first.mirror)
    code, output = second.finish()
    assert code == 0
    assert "is finished already" in output
    assert "begins" not in output
    assert (second.run / "model.safetensors").exists()


def test_run_that_was_lost_before_its_last_file_was_copied_is_finished_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "first", tmp_path / "mirror")
    assert machine.finish()[0] == 0
    (machine.mirror / ".finished").unlink()
    (machine.mirror / "plots" / "curve.txt").unlink()
    second = Machine(tmp_path / "second", machine.mirror)
    code, output = second.finish()
    assert code == 0
    assert "begins after epoch 4" in output
    assert (machine.mirror / "plots" / "curve.txt").exists()


def test_folder_without_a_state_is_kept_and_the_run_starts_anew(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "disk", tmp_path / "mirror")
    machine.run.mkdir()
    (machine.run / "config.toml").write_text("something else", encoding="ascii")
    code, output = machine.finish()
    assert code == 0, output
    kept = list(machine.run.parent.glob("run.before-*"))
    assert [(folder / "config.toml").read_text(encoding="ascii") for folder in kept] == ["something else"]


def test_failing_training_fails_with_its_code_and_is_not_marked_finished(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "disk", tmp_path / "mirror", ["--fail", "7"])
    code, output = machine.finish()
    assert code == 7
    assert "training ended with exit code 7" in output
    assert (machine.mirror / "checkpoint.pt").exists()
    assert not (machine.mirror / ".finished").exists()


def test_last_copy_that_fails_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("not a folder", encoding="ascii")
    machine = Machine(tmp_path / "disk", tmp_path / "mirror" / "run")
    code, output = machine.finish()
    assert code == 74
    assert f"fetch {machine.run} from this machine" in output
    assert not (machine.run / ".finished").exists()


@pytest.mark.parametrize(("processes", "torchrun"), [("1", False), ("4", True)])
def test_several_processes_go_through_torchrun(tmp_path: Path, processes: str, torchrun: bool) -> None:
    """What is started, seen by putting `echo` in the place of the interpreter."""
    environment = {**os.environ, "PYTHON": "echo", "PROCESSES": processes}
    command = [SCRIPT, tmp_path / "run", "--data", "garbage"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    words = done.stdout.splitlines()[1].split()
    assert (words[:4] == ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]) is torchrun
    assert Path(words[4 if torchrun else 0]).resolve() == REPOSITORY / "train" / "run.py"
    assert words[-4:] == ["--data", "garbage", "--out", str(tmp_path / "run")]


@pytest.mark.parametrize(
    ("answer", "gpus"),
    [
        ("printf 'GPU 0: A (UUID: a)\\nGPU 1: A (UUID: b)\\n'", 2),
        ("echo 'GPU 0: A'", 1),
        ("echo 'No devices found'", 1),
        ("exit 9", 1),
    ],
)
def test_processes_are_one_a_gpu(tmp_path: Path, answer: str, gpus: int) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{answer}\n", encoding="ascii")
    tool.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key != "PROCESSES"}
    environment |= {"PYTHON": "echo", "PATH": f"{tool.parent}:{os.environ['PATH']}"}
    done = subprocess.run([SCRIPT, tmp_path / "run"], env=environment, capture_output=True, text=True, check=False)
    assert "run.py --out" in done.stdout
    assert ("--nproc-per-node=2" in done.stdout) is (gpus == 2)


def test_source_without_history_says_its_commit_by_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("train.finish.REPOSITORY", tmp_path)
    assert git_commit() is None
    monkeypatch.setenv("SMARTBIN_COMMIT", "0123abc")
    assert git_commit() == "0123abc"


def test_checkout_does_not_listen_to_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    before = git_commit()
    if before is None:
        pytest.skip("the history of this checkout is not here")
    monkeypatch.setenv("SMARTBIN_COMMIT", "0123abc")
    assert git_commit() == before
