"""What can be checked of Dockerfile.jetson without a Jetson."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from device.capture import CaptureCounts
from device.cli import build_parser
from tests.device.web.stage import stage_bin
from tests.device.web.test_server import serve

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile.jetson").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", TEXT)).splitlines()


def instructions(name: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{name} ")]


def test_everything_that_is_copied_is_there_and_not_ignored():
    ignored = set((ROOT / ".dockerignore").read_text().split())
    for copy in instructions("COPY"):
        if copy.startswith("--from"):
            continue
        for source in copy.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source not in ignored


def test_every_package_of_the_wheel_is_copied():
    pyproject = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r"packages = \[([^\]]+)\]", pyproject)[1]
    copied = {source for copy in instructions("COPY") for source in copy.split()}
    assert set(re.findall(r'"(\w+)"', packages)) <= copied


def test_it_is_jetpack_6_with_its_python():
    assert "l4t-jetpack:r36" in TEXT
    assert "== (3, 10)" in TEXT


def test_pips_opencv_never_comes_in():
    installs = [line for line in instructions("RUN") if "pip install" in line or "pip wheel" in line]
    assert installs
    assert not any("opencv" in line for line in installs)
    assert all("--no-deps" in line for line in installs if "smartbin" in line or line.endswith(" ."))


def test_the_light_dependencies_are_those_of_the_package():
    pyproject = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"\ndependencies = \[(.*?)\n\]", pyproject, re.DOTALL)[1]
    for name in re.findall(r'"([\w-]+)', block):
        if not name.startswith("opencv"):
            assert re.search(rf'"{name}[\[>"]', TEXT), f"{name} is missing in Dockerfile.jetson"


@pytest.mark.parametrize("extra", ["page", "mqtt", "serial", "jetson", "sign"])
def test_what_a_bin_on_the_wall_needs_is_there_as_the_package_asks_for_it(extra):
    pyproject = (ROOT / "pyproject.toml").read_text()
    listed = re.search(rf"(?m)^{extra} = \[(.*?)\]", pyproject)[1]
    for requirement in re.findall(r'"([^"]+)"', listed):
        assert f'"{requirement}"' in TEXT, f"{requirement} is missing in Dockerfile.jetson"


def test_it_does_not_run_as_root_and_may_use_cameras():
    assert instructions("USER")[-1] != "root"
    assert "--groups video" in TEXT


def test_the_health_check_asks_the_page_and_fails_when_the_loop_stands_still(tmp_path, tiny_bundle):
    staged = stage_bin(tmp_path, tiny_bundle, keeps=False)
    page = serve(staged)
    assert page.wait_until_listening(20)
    (check,) = instructions("HEALTHCHECK")
    program, *arguments = json.loads(check[check.index("[") :])
    assert program == "python3"
    command = [sys.executable, *(argument.replace(":8080/", f":{page.port}/") for argument in arguments)]
    assert command[-1] != arguments[-1]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    staged.status.watch(CaptureCounts, lambda: 8.0, list)
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode != 0
    page.close()


@pytest.mark.parametrize("command", instructions("CMD"))
def test_the_command_is_one_that_the_parser_knows(command):
    words = re.findall(r'"([^"]+)"', command)
    assert words[0] == "smartbin"
    assert build_parser().parse_args(words[1:]).page, "the health check asks it"
