"""Dockerfiles through hadolint, shell scripts through shellcheck: each also with something wrong, to see them work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY

CLOUD = REPOSITORY / "train" / "cloud"
DOCKERFILES = [REPOSITORY / "Dockerfile.jetson", CLOUD / "Dockerfile"]
SCRIPTS = [*sorted(CLOUD.glob("*.sh")), REPOSITORY / "tools" / "test_oldest.sh", REPOSITORY / ".ci" / "run"]
TASK_SCRIPTS = ("setup", "run")


@pytest.fixture(scope="module")
def tool() -> Callable[[str], str]:
    """Where a linter is: beside this Python, or on PATH."""

    def find(name: str) -> str:
        path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not here")
        return path

    return find


def check(*command: str | Path, text: str | None = None) -> str:
    """What a linter says; empty when it finds nothing."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or done.stdout, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_dockerfile_is_clean(tool: Callable[[str], str], file: Path) -> None:
    assert check(tool("hadolint"), "--no-color", file) == ""


def test_hadolint_sees_what_is_wrong(tool: Callable[[str], str]) -> None:
    text = DOCKERFILES[1].read_text(encoding="utf-8")
    broken = text.replace("WORKDIR /smartbin", "WORKDIR smartbin").replace("13.0.2-base-ubuntu24.04", "latest")
    found = check(tool("hadolint"), "--no-color", "-", text=broken)
    assert "DL3000" in found  # a relative WORKDIR


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_script_is_clean(tool: Callable[[str], str], file: Path) -> None:
    assert check(tool("shellcheck"), "--severity=style", file) == ""


@pytest.mark.parametrize("part", TASK_SCRIPTS)
def test_script_of_the_skypilot_task_is_clean(tool: Callable[[str], str], part: str) -> None:
    """DATA and ARGS are lists of words there: SC2086."""
    text = yaml.safe_load((CLOUD / "skypilot.yaml").read_text(encoding="utf-8"))[part]
    command = (tool("shellcheck"), "--shell=bash", "--severity=style", "--exclude=SC2086", "-")
    assert check(*command, text=text) == ""
    assert "SC1009" in check(*command, text=text + "\nif true; then\n")


def test_scripts_can_be_run() -> None:
    assert [path.name for path in SCRIPTS if not path.stat().st_mode & 0o111] == []


def test_training_image_has_what_it_copies_and_pins() -> None:
    text = DOCKERFILES[1].read_text(encoding="utf-8")
    ignored = set((REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split())
    sources = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert {"smartbin", "train", "constraints.txt", "pyproject.toml"} <= set(sources)
    assert all((REPOSITORY / source).exists() and source not in ignored for source in sources)
    assert "--constraint constraints.txt" in text
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-base-ubuntu24\.04$", text, re.MULTILINE)


def test_training_image_installs_what_training_needs() -> None:
    """The Dockerfile's own command on this pyproject.toml; an extra that names the project would ask PyPI for it."""
    pytest.importorskip("tomllib", reason="tomllib is not here: Python 3.11 has it, and so has the image")
    command = re.search(r'RUN python3 -c "(.+)" > requirements\.txt', DOCKERFILES[1].read_text(encoding="utf-8"))
    assert command is not None
    python = (sys.executable, "-c", command[1])
    done = subprocess.run(python, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = {re.split(r"[><=\[ ]", line)[0] for line in done.stdout.splitlines()}
    assert {"torch", "lightning-fabric", "numpy", "pydantic", "kagglehub"} <= names
    assert "smartbin" not in names


def test_training_image_has_the_cuda_of_the_pinned_torch() -> None:
    """The base image asks the host for a driver; torch brings the libraries. Both must mean the same CUDA."""
    import torch

    if torch.version.cuda is None:
        pytest.skip("a torch with CUDA is not here")
    base = re.search(r"^ARG BASE=nvidia/cuda:(\d+\.\d+)", DOCKERFILES[1].read_text(encoding="utf-8"), re.MULTILINE)
    assert base is not None
    assert base[1] == torch.version.cuda


def test_training_image_is_not_root_and_starts_training() -> None:
    text = DOCKERFILES[1].read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001"]
    assert 'ENTRYPOINT ["python", "train/run.py"]' in text
    assert "STOPSIGNAL SIGTERM" in text
