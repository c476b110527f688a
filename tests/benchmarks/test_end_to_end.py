"""The daemon on a paced camera, its start as a process, and the camera's timing on a clock that does not wait."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paced_camera import HEIGHT, WIDTH, PacedCamera, Recording, fill_frame, scene_recording
from benchmarks.report import read_report
from benchmarks.run import main
from benchmarks.start_up import run_start_up
from device.clock import ManualClock
from smartbin.errors import InferenceError
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_run import draw_coloured_photos


def _recording(order: tuple[int, ...] = (0, 1, 2), per_second: float = 10.0) -> Recording:
    pictures = tuple(np.full((2, 2, 3), level, np.uint8) for level in range(1 + max(order)))
    return Recording("levels", pictures, order, per_second)


def test_the_daemon_runs_with_and_without_sinks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny").path
    draw_coloured_photos(tmp_path / "photos", {"val": 2})
    arguments = ["--bundle", str(bundle), "--photos", str(tmp_path / "photos"), "--fps", "30", "--seconds", "1.5"]
    short = ["--minutes", "0.02", "--starts", "1", "--runtime", "onnxruntime-cpu", "--out", "e.json"]
    assert main(["end_to_end", *arguments, *short]) == 0
    assert "RESULT ok scenarios=end_to_end,start_up" in capsys.readouterr().out
    table, start = read_report(Path("e.json")).tables
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["row"], row["sinks"]) for row in rows] == [
        ("every frame", "none"),
        ("every frame", "JSON lines"),
        ("every frame", "JSON lines, live view"),
        ("items", "JSON lines"),
        ("idle", "JSON lines"),
        ("sustained", "JSON lines"),
    ]
    every = rows[0]
    assert every["n"] + every["warm-up"] == every["frames"] > 0
    assert every["CPU %"] > 0
    assert all(row["dropped"] >= 0 and row["memory MB"] > 0 for row in rows)
    assert "first fifth" in table.notes[-1]
    found = dict(zip(start.columns, start.rows[0], strict=True))
    assert (found["n"], found["warm-up"]) == (1, 1)
    assert 0 < found["resident MB"] <= found["peak MB"]


def test_a_daemon_that_does_not_start_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="before its first prediction") as caught:
        run_start_up(tmp_path / "nothing", "onnxruntime-cpu", 1, starts=1)
    assert "no model bundle here" in str(caught.value.found)


def test_frames_come_at_their_time_and_show_what_is_then_to_be_seen() -> None:
    clock = ManualClock()
    camera = PacedCamera(_recording(), 20, clock, threading.Event())
    frames = [camera.read() for _ in range(5)]
    assert [round(frame.captured_s - 1000, 3) for frame in frames] == [0, 0.05, 0.1, 0.15, 0.2]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 0, 1, 1, 2]
    assert [frame.seq for frame in frames] == [1, 2, 3, 4, 5]
    assert camera.lost == 0


def test_frames_that_nobody_waited_for_are_lost_and_counted() -> None:
    clock = ManualClock()
    camera = PacedCamera(_recording(), 10, clock, threading.Event())
    camera.read()
    clock.advance(0.55)
    late = camera.read()
    assert camera.lost == 3  # those of 0.1, 0.2 and 0.3 s; the one of 0.4 s waits, that of 0.5 s comes next
    assert late.captured_s == pytest.approx(1000.4)
    assert late.seq == 5


def test_the_scene_can_be_spread_to_an_item_every_few_seconds() -> None:
    plain, spread = scene_recording(), scene_recording(5.0)
    assert plain.pictures[0].shape == (HEIGHT, WIDTH, 3)
    visits = sum(spread.order[number] != 0 and spread.order[number - 1] == 0 for number in range(len(spread.order)))
    assert len(spread.order) == visits * 50
    assert visits == 5


@pytest.mark.parametrize("shape", [(480, 640), (720, 1280), (100, 300), (300, 100), (2000, 3000)])
def test_any_picture_fills_a_frame(shape: tuple[int, int]) -> None:
    frame = fill_frame(np.full((*shape, 3), 7, np.uint8))
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert (frame == 7).all()
