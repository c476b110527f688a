"""Several processes that train one network: the same result as one, one voice, one end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smartbin.errors import ConfigError
from tests.conftest import REPOSITORY, draw_photo
from tests.train.conftest import FLAGS
from tests.train.tiny import GROUPS
from train import ranks
from train.checkpoint import load_run, load_state
from train.loader import SampleKey
from train.machine import worker_count
from train.machine_config import Machine
from train.run import main

EXACT = ("--model", GROUPS, "--dropout", "0", "--batch", "7")
"""No batch norm and no dropout: what is left must not depend on how many processes share a batch."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the photos of all runs in `photos`, and the runs."""
    folder = tmp_path_factory.mktemp("ranks")
    for index, (label, count) in enumerate({"bottle": 14, "can": 12, "carton": 11}.items()):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(count):
            image = draw_photo(1000 * index + number)
            cv2.imwrite(str(folder / "photos" / label / f"{label}{number + 1}.png"), image)
    return folder


@pytest.fixture(scope="module")
def torchrun(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Train the tiny network by two processes, with an accident if named."""

    def run(*flags: str, name: str = "", accident: str = "") -> subprocess.CompletedProcess[str]:
        script = ["tests.train.accidents", accident] if accident else ["tests.train.tiny"]
        new = ["--data", str(folder / "photos"), "--out", str(folder / name), "--epochs", "2", *FLAGS] if name else []
        command = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", *script, *new, *flags]
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run


@pytest.fixture(scope="module")
def two(torchrun: Callable[..., subprocess.CompletedProcess[str]]) -> subprocess.CompletedProcess[str]:
    """A run by two processes from beginning to end, in the folder `two`."""
    return torchrun(*EXACT, name="two")


def losses_of(run: Path) -> list[tuple[float, float, float]]:
    history = load_run(run).metrics.history
    return [(record.train_loss, record.train_objective, record.val_loss) for record in history]


def test_two_processes_give_what_one_gives(
    two: subprocess.CompletedProcess[str], train_tiny: Callable[..., Path], folder: Path
) -> None:
    """Batches of seven: the shares are not even equal."""
    assert two.returncode == 0, two.stderr
    alone, shared = train_tiny(*EXACT, data=folder / "photos"), folder / "two"
    assert np.allclose(losses_of(shared), losses_of(alone), rtol=1e-4)
    ours, theirs = (load_file(path / "model.safetensors") for path in (shared, alone))
    assert [name for name in ours if not torch.allclose(ours[name], theirs[name], atol=1e-4)] == []
    assert {file.name for file in shared.iterdir()} == {file.name for file in alone.iterdir()}
    assert load_run(shared).validation.confusion == load_run(alone).validation.confusion


def test_one_process_speaks_for_all(two: subprocess.CompletedProcess[str]) -> None:
    for once in ("epoch   1/2", "epoch   2/2", "data: photos", "next: python export/run.py"):
        assert two.stdout.count(once) == 1


def test_no_thread_of_the_group_is_left(two: subprocess.CompletedProcess[str]) -> None:
    """One that still ran when the interpreter ended would abort the process now and then."""
    left = [line for line in two.stdout.splitlines() if line.startswith("threads left:")]
    assert len(left) == 2
    assert "gloo" not in "".join(left)


def test_signal_to_one_process_stops_all_and_they_resume_exactly(
    torchrun: Callable[..., subprocess.CompletedProcess[str]], two: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert two.returncode == 0, two.stderr
    stopped = torchrun(*EXACT, name="parts", accident="stop")
    out = folder / "parts"
    assert stopped.returncode != 0
    assert (
        stopped.stdout.count(f"stopped by SIGTERM; state saved. Continue with: python train/run.py --resume {out}") == 1
    )
    assert (load_state(out)["epoch"], load_state(out)["step"]) == (1, 2)
    assert not (out / "model.safetensors").exists()
    resumed = torchrun("--resume", str(out))
    assert resumed.returncode == 0, resumed.stderr
    ours, theirs = (load_file(folder / name / "model.safetensors") for name in ("two", "parts"))
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert losses_of(folder / "two") == losses_of(out)


def test_error_in_one_process_ends_all(torchrun: Callable[..., subprocess.CompletedProcess[str]], folder: Path) -> None:
    failed = torchrun(name="failed", accident="fail")
    assert failed.returncode != 0
    assert "only this rank has a problem" in failed.stderr
    assert not (folder / "failed" / "model.safetensors").exists()


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Pose as one of several processes that torchrun started."""

    def pose(number: int, count: int) -> None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", str(count))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(count))

    return pose


@pytest.mark.parametrize("size", [3, 7, 8, 32])
def test_shares_are_a_batch_in_parts(as_rank: Callable[[int, int], None], size: int) -> None:
    batch = [SampleKey(number, number) for number in range(size)]
    shares = []
    weights = []
    for number in range(3):
        as_rank(number, 3)
        shares.append(list(ranks.share_of(batch)))
        weights.append(ranks.weight_of_share(len(shares[-1]), size))
    assert [key for share in shares for key in share] == batch
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sum(weights) / 3 == pytest.approx(1)


def test_numbers_of_other_launchers_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "3")
    assert (ranks.rank(), ranks.ranks(), ranks.ranks_here()) == (0, 1, 1)
    assert list(ranks.share_of("abc")) == list("abc")
    assert ranks.any_rank(None) is None
    assert ranks.any_rank(15) == 15
    assert ranks.mean_over_ranks([1.5]) == [1.5]


def test_each_process_draws_for_itself(as_rank: Callable[[int, int], None]) -> None:
    seeds = set()
    for number in range(4):
        as_rank(number, 4)
        seeds |= {ranks.step_seed(0, epoch, step) for epoch in range(3) for step in range(5)}
    assert len(seeds) == 60
    assert ranks.step_seed(0, 2, 4) in seeds


def test_batch_smaller_than_the_number_of_processes(as_rank: Callable[[int, int], None]) -> None:
    as_rank(0, 4)
    ranks.check_batch(4)
    with pytest.raises(ConfigError, match="fewer photos in a batch than processes"):
        ranks.check_batch(3)


def test_loader_processes_are_shared_out(as_rank: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    found = []
    for count in (1, 4, 8, 16):
        as_rank(0, count)
        found.append(worker_count(Machine()))
    assert found == [4, 3, 1, 1]
    assert worker_count(Machine(workers=7)) == 7


def test_other_commands_run_alone(as_rank: Callable[[int, int], None], capsys: pytest.CaptureFixture[str]) -> None:
    as_rank(1, 2)
    assert main(["evaluate", "runs/none"]) == 2
    assert "only a training run is for torchrun" in capsys.readouterr().err
