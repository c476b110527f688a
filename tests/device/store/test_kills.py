"""SIGKILL at random moments, over one store: nothing is damaged, nothing that was acknowledged is lost, nothing twice.

A few kills in every run; `KILLS=200 python -m pytest tests/device/store/test_kills.py -s` does as many as are asked for
and prints what it saw.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from device.store.paths import StorePaths
from tests.conftest import REPOSITORY

KILLS = int(os.environ.get("KILLS", "10"))


def kill_a_writer(paths: StorePaths, uid: str, draw: random.Random) -> list[int]:
    """Start a writer, kill it, and return the numbers that it acknowledged before."""
    command = [sys.executable, "-S", "-m", "tests.device.store.writing_child", str(paths.folder), uid]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=REPOSITORY) as child:
        assert child.stdout is not None
        first = child.stdout.readline() if draw.random() < 0.8 else b""  # else perhaps while it opens the store
        time.sleep(draw.uniform(0, 0.1 if first else 0.3))
        assert child.poll() is None, "it ended by itself"
        child.kill()
        lines = (first + child.stdout.read()).split(b"\n")[:-1]  # the last one may be cut
    return [int(line) for line in lines]


def check(paths: StorePaths, uid: str, acknowledged: list[int]) -> int:
    """What the store says after a kill; returns how many events of this run it holds."""
    with closing(sqlite3.connect(f"file:{paths.database}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT events.id, seq FROM events JOIN runs ON runs.id = run_id WHERE runs.uid = ? ORDER BY events.id",
            (uid,),
        ).fetchall()
    assert set(acknowledged) <= {number for number, _ in rows}, "an acknowledged event was lost"
    assert [seq for _, seq in rows] == list(range(1, len(rows) + 1)), "in order, none missing, none twice"
    return len(rows)


@pytest.mark.timeout(60 + 3 * KILLS)
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path):
    paths, draw = StorePaths(tmp_path), random.Random()
    acknowledged: dict[str, list[int]] = {}
    stored: dict[str, int] = {}
    for number in range(KILLS):
        uid = f"kill-{number}"
        acknowledged[uid] = kill_a_writer(paths, uid, draw)
        if paths.database.exists():
            stored[uid] = check(paths, uid, acknowledged[uid])
    assert sum(map(len, acknowledged.values())) > KILLS
    for uid, count in stored.items():  # again, after everything that came later
        assert check(paths, uid, acknowledged[uid]) == count
    assert not list(paths.folder.glob("*.damaged-*"))
    told, kept = sum(map(len, acknowledged.values())), sum(stored.values())
    quiet = sum(not ids for ids in acknowledged.values())
    print(
        f"\n{KILLS} kills ({quiet} before the first commit): {told} events acknowledged, {kept} stored, 0 lost, 0 twice"
    )
