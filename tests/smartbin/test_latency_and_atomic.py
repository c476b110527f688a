from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from smartbin.atomic import replace_folder, write_text_atomic
from smartbin.latency import StageTimer, summarise


def test_summary_of_known_samples() -> None:
    found = summarise([float(value) for value in range(1, 101)])
    assert (found.count, found.mean_ms, found.p50_ms, found.max_ms) == (100, 50.5, 50.5, 100.0)
    assert found.p95_ms == pytest.approx(95.05)
    with pytest.raises(ValueError, match="no samples"):
        summarise([])


def test_stage_timer_times_the_body_even_when_it_raises() -> None:
    ticks = iter([0.0, 0.010, 1.0, 1.030])
    timer = StageTimer(clock=lambda: next(ticks))
    with timer.stage("classify"):
        pass
    with pytest.raises(RuntimeError), timer.stage("classify"):
        raise RuntimeError
    summary = timer.summaries()["classify"]
    assert (summary.count, summary.mean_ms) == (2, pytest.approx(20.0))


def test_stage_timer_keeps_the_newest_samples_only() -> None:
    timer = StageTimer(keep=3)
    for value in (100.0, 1.0, 2.0, 3.0):
        timer.add("read", value)
    timer.add("classify", 7.0)
    assert timer.summaries()["read"].max_ms == 3.0
    assert timer.newest_ms() == (("read", 3.0), ("classify", 7.0))


def test_stage_timer_takes_no_more_memory_as_its_samples_come() -> None:
    timer = StageTimer()
    timer.add("rare", 0.5)
    tracemalloc.start()
    try:
        for number in range(9_000):
            timer.add("rare", 1.5 + number)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1_000
    assert timer.summaries()["rare"].count == 9_001


def test_text_is_replaced_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text_atomic(target, "old")
    write_text_atomic(target, "new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for content in ("old", "new"):
        with replace_folder(target) as folder:
            (folder / f"{content}.txt").write_text(content)
    assert [path.name for path in target.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with replace_folder(target) as folder:
        (folder / "old.txt").write_text("old")

    def fail_half_way() -> None:
        with replace_folder(target) as folder:
            (folder / "half.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert [path.name for path in target.iterdir()] == ["old.txt"]
    assert list(tmp_path.iterdir()) == [target]
