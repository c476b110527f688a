"""SIGKILL while pictures are kept and make room: rows and files agree after the next start. `KILLS=200` does more."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from smartbin.images import read_image
from tests.conftest import REPOSITORY
from tests.device.samples.staged import bench

KILLS = max(2, int(os.environ.get("KILLS", "10")) // 4)


def kill_a_keeper(folder, uid, draw) -> list[str]:
    """Start one, kill it, and return the files that it acknowledged."""
    command = [sys.executable, "-m", "tests.device.samples.keeping_child", str(folder), uid]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=REPOSITORY) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(draw.uniform(0, 0.3))
        assert child.poll() is None, "it ended by itself"
        child.kill()
        return (first + child.stdout.read()).decode().split("\n")[:-1]


@pytest.mark.timeout(60 + 6 * KILLS)
def test_rows_and_files_agree_after_a_kill(tmp_path):
    draw, acknowledged = random.Random(), 0
    for number in range(KILLS):
        told = kill_a_keeper(tmp_path, f"kill{number}", draw)
        acknowledged += len(told)
        with bench(tmp_path) as stage:
            assert stage.store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            stage.ring.begin(stage.store)
            rows = [file for (file,) in stage.rows("file", "removed_ms IS NULL")]
            assert stage.files() == sorted(rows)
            assert told[-1] in rows, "what was acknowledged last cannot have made room yet"
            assert all(read_image(stage.paths.samples / file).size for file in rows)
    assert acknowledged >= KILLS
    print(f"\n{KILLS} kills: {acknowledged} pictures acknowledged, {len(rows)} in the ring, all whole and with a row")
