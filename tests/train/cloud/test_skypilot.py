"""The SkyPilot task: its form, its scripts, and what `run` really does, with a folder in the place of the bucket.

`sky` itself is too large for the tests of this project; where it is installed, it reads the task, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.train.cloud.machines import FAKE
from train.cli import parse_train
from train.fetching.registry import data_sets

FILE = REPOSITORY / "train" / "cloud" / "skypilot.yaml"
TASK: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
KEYS = {"name", "workdir", "envs", "resources", "file_mounts", "setup", "run"}
RESOURCE_KEYS = {"accelerators", "use_spot", "disk_size", "autostop", "job_recovery"}
"""Of SkyPilot 0.14's schema, those that are used here: a misspelt key would be in neither."""


def test_sky_itself_reads_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed: pip install skypilot")
    monkeypatch.setenv("SKYPILOT_DISABLE_USAGE_COLLECTION", "1")
    task = sky.Task.from_yaml_config(dict(TASK), env_overrides=[("BUCKET", "a-bucket")])
    assert {next(iter(resources.accelerators)) for resources in task.resources} == {"L4", "A10G", "T4"}
    assert all(resources.use_spot for resources in task.resources)
    assert task.storage_mounts["/bucket"].name == "a-bucket"


def test_task_has_the_keys_that_sky_knows() -> None:
    assert set(TASK) == KEYS
    assert set(TASK["resources"]) == RESOURCE_KEYS
    assert TASK["envs"]["BUCKET"] is None  # sky asks for a value
    assert all(isinstance(value, str) for name, value in TASK["envs"].items() if name != "BUCKET")


def test_it_stops_paying_and_goes_on_by_itself() -> None:
    resources = TASK["resources"]
    assert resources["use_spot"] is True
    assert resources["autostop"] == {"idle_minutes": 5, "down": True}
    assert resources["job_recovery"] == {"max_restarts_on_errors": 0, "recover_on_exit_codes": [143]}
    assert TASK["file_mounts"] == {"/bucket": {"name": "${BUCKET}", "mode": "MOUNT"}}


def test_defaults_are_what_training_understands() -> None:
    envs = TASK["envs"]
    assert set(envs["DATA"].split()) <= set(data_sets())
    flags = ["--data", envs["DATA"], "--model", envs["MODEL"], "--epochs", envs["EPOCHS"], "--out", "runs/x"]
    assert parse_train([*flags, *envs["ARGS"].split()]).overrides["model"] == envs["MODEL"]


def checkout(folder: Path) -> Path:
    """What `workdir` brings to the machine, with the fake trainer in the place of train/run.py."""
    shutil.copytree(REPOSITORY / "train" / "cloud", folder / "train" / "cloud")
    shutil.copy(FAKE, folder / "train" / "run.py")
    return folder


def run_task(folder: Path, **environment: str) -> tuple[int, str]:
    """The task's `run`, as sky runs it: in the work folder, with the task's variables."""
    settings = {name: value or "" for name, value in TASK["envs"].items()} | {
        "SKYPILOT_TASK_ID": "sky-managed-1",
        "PYTHON": sys.executable,
        "PROCESSES": "1",
        "BUCKET_FOLDER": str(folder.parent / "bucket"),
        "SMARTBIN_DATA": str(folder / "photos"),
    }
    done = subprocess.run(
        ["bash", "-c", TASK["run"]],
        cwd=folder,
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_run_starts_and_another_machine_finds_it_finished(tmp_path: Path) -> None:
    mine = tmp_path / "bucket" / "data" / "mine" / "glass"
    mine.mkdir(parents=True)
    (mine / "1.jpg").write_bytes(b"a photo")
    code, output = run_task(checkout(tmp_path / "first"), DATA="garbage data/mine", ARGS="--epochs 3", MODEL="resnet50")
    assert code == 0, output
    kept = tmp_path / "bucket" / "runs" / "sky-managed-1"
    assert (kept / ".finished").exists()
    config = (kept / "config.toml").read_text(encoding="ascii")
    assert f"['garbage', '{tmp_path}/first/photos/data/mine']" in config
    assert 'model = "resnet50"' in config
    assert (tmp_path / "first" / "photos" / "data" / "mine" / "glass" / "1.jpg").exists()
    code, output = run_task(checkout(tmp_path / "second"), DATA="garbage data/mine")
    assert code == 0
    assert "is finished already" in output


def test_run_goes_on_from_the_bucket(tmp_path: Path) -> None:
    code, output = run_task(checkout(tmp_path / "first"), RUN="mine", EPOCHS="2", ARGS="--fail 9")
    assert code == 9, output  # two epochs are in the bucket, and no end
    code, output = run_task(checkout(tmp_path / "second"), RUN="mine", EPOCHS="2")
    assert code == 0, output
    assert "begins after epoch 2" in output


def test_photos_that_are_not_in_the_bucket_are_an_error(tmp_path: Path) -> None:
    code, output = run_task(checkout(tmp_path / "first"), DATA="data/absent")
    assert code != 0
    assert "data/absent" in output
    assert not (tmp_path / "bucket" / "runs").exists()
