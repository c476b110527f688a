"""Whole runs through the entry point: what they leave, that they resume exactly, how they stop."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from smartbin.config import load_settings
from tests.conftest import REPOSITORY
from tests.train.conftest import FLAGS, Steps
from train.checkpoint import load_run, load_state
from train.cli import parse_train
from train.config import TrainConfig
from train.run import COMMANDS, TRAIN, main
from train.stopping import Stopped, stop_on_signals

RUN_FILES = {
    "checkpoint.pt",
    "config.toml",
    "coverage.png",
    "curves.png",
    "doubts.png",
    "metrics.json",
    "mistakes.png",
    "model.safetensors",
    "outputs.npz",
    "predictions.csv",
    "reliability.png",
    "report.html",
    "report.json",
    "report.md",
    "split.json",
}


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_run_leaves_a_whole_directory(train_tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = train_tiny()
    printed = capsys.readouterr().out
    assert {file.name for file in path.iterdir()} == RUN_FILES
    assert "epoch   2/2" in printed
    assert f"next: python export/run.py {path} --precision int8" in printed
    for name in ("curves.png", "reliability.png", "mistakes.png"):
        assert cv2.imread(str(path / name)) is not None

    run = load_run(path)
    assert run.classes == ("bottle", "can", "carton")
    assert [len(run.photos(part)) for part in ("train", "val", "test")] == [25, 6, 6]
    assert run.validation.photos == 6
    assert run.metrics.test is not None
    assert run.metrics.train.photos == 25
    assert [record.epoch for record in run.metrics.history] == [1, 2]
    logits = run.build_model()(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 3)
    assert logits.dtype == torch.float32


def test_report_predictions_and_figures_agree(train_tiny: Callable[..., Path]) -> None:
    path = train_tiny()
    rows = list(csv.DictReader((path / "predictions.csv").read_text(encoding="utf-8").splitlines()))
    score = json.loads((path / "metrics.json").read_text())["val"]
    assert sum(row["label"] == row["predicted"] for row in rows) == score["correct"]
    assert sum(map(sum, score["confusion"])) == score["photos"] == len(rows)
    assert f"{score['accuracy']:.4f}" in (path / "report.md").read_text(encoding="utf-8")


def test_configuration_comes_back_from_its_file(train_tiny: Callable[..., Path]) -> None:
    path = train_tiny("--mixup", "0.2", "--freeze-until", "back", "--set", "brightness.enabled=false")
    config = load_settings(TrainConfig, path / "config.toml")
    assert (config.recipe.mixup, config.recipe.freeze_until, config.brightness.enabled) == (0.2, "back", False)
    assert not load_run(path).preprocess.brightness.enabled


@pytest.mark.parametrize("stop_after", [1, 3, 5], ids=["in the first epoch", "at its end", "in the second epoch"])
def test_resumed_run_equals_an_uninterrupted_one(
    train_tiny: Callable[..., Path], tmp_path: Path, steps: Steps, stop_after: int
) -> None:
    """Dropout, mixing, augmentation and the moving average all go on as if nothing had happened."""
    flags = ("--mixup", "0.3", "--cutmix", "0.5", "--dropout", "0.4")
    whole = train_tiny(*flags, name="whole")

    steps.stop_after(stop_after)
    out = tmp_path / "parts"
    data = tmp_path / "photos"
    assert main(["--data", str(data), "--out", str(out), "--epochs", "2", *FLAGS, *flags]) == 128 + signal.SIGTERM
    assert not (out / "model.safetensors").exists()
    assert main(["--resume", str(out)]) == 0
    assert_same_weights(whole, out)
    assert [e.train_loss for e in load_run(whole).metrics.history] == [
        e.train_loss for e in load_run(out).metrics.history
    ]


def test_run_killed_in_its_first_epoch_begins_again_to_the_same_result(
    train_tiny: Callable[..., Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the split that it recorded, and whatever else the killed process has left."""
    flags = ("--mixup", "0.3", "--dropout", "0.4", "--epochs", "2", "--limit", "7", "--tensorboard")
    whole = train_tiny(*flags, name="whole")

    out = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.train.accidents", "kill", "--data", str(photos), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(
        [*command, *FLAGS, *flags], cwd=REPOSITORY, capture_output=True, check=False, env=environment
    )
    assert killed.returncode == -signal.SIGKILL
    assert {file.name for file in out.iterdir()} == {"config.toml", "split.json", "tensorboard"}
    arguments = ["--data", str(photos), "--out", str(out), *FLAGS, *flags]
    assert main(arguments) == 2
    assert f"continue that run: --resume {out}" in capsys.readouterr().err

    assert main(["--resume", str(out)]) == 0
    assert "the run begins at its first step" in capsys.readouterr().out
    assert_same_weights(whole, out)
    assert (out / "split.json").read_text() == (whole / "split.json").read_text()
    assert len(list((out / "tensorboard").iterdir())) == 1


def test_run_killed_before_its_split_was_recorded_begins_again(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    whole = train_tiny(name="whole")
    (tmp_path / "killed").mkdir()
    shutil.copy(whole / "config.toml", tmp_path / "killed")
    assert main(["--resume", str(tmp_path / "killed")]) == 0
    assert_same_weights(whole, tmp_path / "killed")


def test_workers_change_nothing(train_tiny: Callable[..., Path]) -> None:
    assert_same_weights(train_tiny(name="none"), train_tiny("--workers", "2", "--cache", "none", name="two"))


def test_seed_changes_everything(train_tiny: Callable[..., Path]) -> None:
    first, second = weights_of(train_tiny(name="a")), weights_of(train_tiny("--seed", "1", name="b"))
    assert not torch.equal(first["fc.weight"], second["fc.weight"])


def test_frozen_stage_keeps_weights_and_statistics(train_tiny: Callable[..., Path], tmp_path: Path) -> None:
    start = train_tiny(name="start")
    weights = str(start / "model.safetensors")
    tuned = weights_of(train_tiny("--weights", weights, "--freeze-until", "back", name="tuned"))
    before = weights_of(start)
    for name in ("front.0.weight", "front.1.running_mean", "front.1.num_batches_tracked"):
        if name != "front.1.num_batches_tracked":  # a counter, which is not loaded
            assert torch.equal(before[name], tuned[name]), name
    assert not torch.equal(before["back.0.weight"], tuned["back.0.weight"])


def test_frozen_layers_that_stay_random_are_warned_of(
    train_tiny: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = train_tiny("--freeze", "1", name="start")
    assert "frozen entries start random and are never trained [front.0.weight," in capsys.readouterr().out
    partly = {name: value for name, value in weights_of(start).items() if name != "front.1.running_var"}
    save_file(partly, tmp_path / "partly.safetensors")
    lacking = train_tiny("--weights", str(tmp_path / "partly.safetensors"), "--freeze", "1", name="lacking")
    assert "warning: 1 frozen entries start random" in capsys.readouterr().out
    assert "1 frozen entries start random" in (lacking / "report.md").read_text(encoding="utf-8")
    flags = ("--weights", str(start / "model.safetensors"), "--freeze", "1")
    assert "frozen entries" not in load_run(train_tiny(*flags, name="whole")).metrics.starting_weights


def test_sigterm_from_outside_saves_and_says_how_to_go_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "tests.train.tiny", "--data", str(photos), "--out", str(out), "--epochs", "5000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *FLAGS], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("epoch   1/"):
                process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert f"--resume {out}" in lines[-1]
    assert load_state(out)["epoch"] >= 1


def test_sigterm_to_the_loader_processes_as_well_saves_all_the_same(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "tests.train.accidents", "stop-group", "--data", str(photos), "--out", str(out)]
    stopped = subprocess.run(
        [*command, "--epochs", "3", *FLAGS, "--workers", "2"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert f"--resume {out}" in stopped.stdout
    assert (load_state(out)["epoch"], load_state(out)["step"]) == (1, 2)


def test_training_that_diverges_ends_at_once_and_says_what_to_do(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "wild"
    wild = ["--head-rate", "1e30", "--backbone-rate", "1e30", "--clip-norm", "0", "--warmup", "0", "--epochs", "3"]
    assert main(["--data", str(photos), "--out", str(out), *FLAGS, *wild]) == 1
    told = capsys.readouterr().err
    assert "training has diverged" in told
    assert "lower --head-rate" in told
    assert not (out / "model.safetensors").exists()


def test_batch_with_fewer_photos_than_parts(train_tiny: Callable[..., Path]) -> None:
    """As the last batch of an epoch may be; an empty part would have no mean."""
    run = load_run(train_tiny("--batch", "2", "--accumulate", "4", "--epochs", "1", name="parts"))
    assert np.isfinite(run.metrics.history[0].train_loss)


def test_flag_that_takes_several_may_come_several_times() -> None:
    command = parse_train(["--data", "one", "two", "--data", "three"])
    assert command.overrides["data"] == ["one", "two", "three"]


def test_script_runs_from_a_plain_checkout(tmp_path: Path) -> None:
    script = REPOSITORY / "train" / "run.py"
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--freeze-until" in done.stdout


def test_smoke_run_of_a_real_network_learns_from_bytes_up(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "smoke"
    flags = ["--model", "efficientnet_lite0", "--weights", "none", "--workers", "0", "--smoke"]
    assert main(["--data", str(photos), "--out", str(out), *flags]) == 0
    assert "--precision fp32" in capsys.readouterr().out, "the gates refuse the int8 file of an untrained network"
    run = load_run(out)
    assert (run.epochs, run.preprocess.size) == (1, 64)
    assert np.isfinite(run.metrics.history[0].train_loss)


def test_network_learns_drawn_photos(tmp_path: Path, train_tiny: Callable[..., Path]) -> None:
    """Colours of the grounds tell these two classes apart: a loop that works gets them right."""
    root = tmp_path / "grounds"
    for label, level in (("dark", 110), ("light", 200)):
        (root / label).mkdir(parents=True)
        for number in range(24):
            noise = np.random.default_rng(number).normal(level, 6, (40, 52, 3))
            cv2.imwrite(str(root / label / f"{number}.png"), np.clip(noise, 0, 255).astype(np.uint8))
    flags = (
        "--epochs",
        "12",
        "--head-rate",
        "0.02",
        "--light",
        "0",
        "--colour",
        "none",
        "--erase",
        "0",
        "--ema-decay",
        "0.8",
    )
    run = load_run(train_tiny(*flags, name="grounds_run", data=root))
    assert run.validation.accuracy == 1.0
    assert run.metrics.train.loss < run.metrics.history[0].train_loss


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_after_the_first_signal_ctrl_c_acts_as_usual_and_sigterm_does_not(
    first: signal.Signals, request: pytest.FixtureRequest
) -> None:
    """A supervisor may send SIGTERM to the run and to the script around it, which passes it on."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, inherited))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals() as wish:
        signal.raise_signal(first)
        assert wish.number == first
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert str(Stopped(signal.SIGTERM)) == "SIGTERM"


@pytest.mark.parametrize("name", [TRAIN, *COMMANDS.values()])
def test_every_command_is_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        resolve_name(name)(["--help"])
    assert ended.value.code == 0
    assert "usage: train/run.py" in capsys.readouterr().out


def test_an_unknown_data_command_is_refused_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetsh", "garbage"]) == 2
    error = capsys.readouterr().err
    assert "data fetsh" in error
    assert "data fetch" in error
