"""What a run leaves on the disk: the store and its pictures, and nothing else. A bin's disk is a memory card."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOLD_NOT_TO = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of a user whose whole disk is this folder."""
    for name in ("work", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    left_out = {"XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CI", "GITHUB_ACTIONS", *TOLD_NOT_TO}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    own = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **own, **more}


def test_a_run_writes_its_store_and_pictures_and_nothing_else(tmp_path, tiny_bundle, story):
    home = tmp_path / "home"
    (tmp_path / "bin.toml").write_text("[samples]\naccepted_share = 1.0\nmin_free_mb = 0\n")
    command = [
        *(sys.executable, "-m", "device.run", "--config", str(tmp_path / "bin.toml"), "--bundle", str(tiny_bundle)),
        *("--source", f"test://scene:{story}?faults=black&every_s=600", "--view", "off", "--max-seconds", "4"),
    ]
    variables = environment(home)
    done = subprocess.run(
        command, env=variables, cwd=home / "work", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    store = ".local/share/smartbin/store"
    pictures = [name for name in found if name.startswith(f"{store}/samples/")]
    assert pictures
    assert sorted(set(found) - set(pictures)) == [f"{store}/.lock", f"{store}/events.sqlite"]


@pytest.mark.parametrize(("given", "left"), [({}, "1 1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0 1")])
def test_the_runtime_is_told_to_tell_nobody(tmp_path, given, left):
    """Before anybody can import it; who allows it in the environment is not overruled."""
    code = f"import smartbin, os; print(*[os.environ[name] for name in {TOLD_NOT_TO}])"
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path, **given), capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == left
