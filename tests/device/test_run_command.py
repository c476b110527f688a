"""`smartbin run` as a user starts it: real processes, real files, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from device.cli import main
from device.scene import builtin_scene_path, read_story
from smartbin.bundle import builtin_bundle_path
from tests.device.staging import Bin, lit

ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, str(ROOT / "device" / "run.py")]


def events(text: str, kind: str = "decision") -> list[dict]:
    return [record for record in map(json.loads, text.splitlines()) if record["event"] == kind]


def test_the_scene_as_json_lines(story, tiny_bundle, capsys):
    code = main(["run", "--source", f"scene:{story}", "--bundle", str(tiny_bundle), "--pace", "fast", "--json"])
    captured = capsys.readouterr()
    assert code == 0
    decisions = events(captured.out)
    assert [decision["label"] for decision in decisions] == ["red", "green"]
    assert [decision["truth"] for decision in decisions] == ["red", "green"]
    assert [record["state"] for record in events(captured.out, "lifecycle")] == ["STARTING", "RUNNING", "STOPPING"]
    assert "2 items: 2 right" in captured.err


def test_the_scene_as_plain_lines(story, tiny_bundle, capsys):
    assert main(["run", "--source", f"scene:{story}", "--bundle", str(tiny_bundle), "--pace", "fast"]) == 0
    out = capsys.readouterr().out
    assert "red" in out.splitlines()[1]
    assert "Time a stage" in out


def test_a_folder_loses_no_photo(colour_folder, tiny_bundle, capsys, tmp_path):
    target = tmp_path / "events.jsonl"
    arguments = [
        "run",
        "--source",
        str(colour_folder),
        "--bundle",
        str(tiny_bundle),
        "--json",
        str(target),
        "--view",
        "off",
    ]
    assert main(arguments) == 0
    decisions = events(target.read_text())
    assert len(decisions) == 9
    assert all(Path(decision["origin"]).parent.name == decision["label"] == decision["truth"] for decision in decisions)
    assert capsys.readouterr().out == ""


def test_a_video(tmp_path, tiny_bundle, capsys):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    tray = Bin()
    for number, image in enumerate([tray.empty()] * 8 + [tray.holding("green")] * 10 + [tray.empty()] * 8):
        writer.write(lit(image, 1.0, seed=number))
    writer.release()
    assert main(["run", "--source", str(path), "--bundle", str(tiny_bundle), "--json"]) == 0
    (decision,) = events(capsys.readouterr().out)
    assert decision["label"] == "green"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--source", "webcam"], 2, "unknown source"),
        (["--config", "/nowhere.toml"], 2, "no configuration file"),
        (["--threads", "0"], 2, "runtime.threads"),
        (["--bundle", "/nowhere"], 3, "no model bundle"),
    ],
)
def test_exit_codes(arguments, code, message, capsys):
    assert main(["run", *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_camera_that_is_not_there_is_exit_code_4(tiny_bundle, capfd):
    assert main(["run", "--source", "camera:99", "--bundle", str(tiny_bundle)]) == 4
    assert "cannot open the camera" in capfd.readouterr().err


def test_a_table_of_bins_that_does_not_fit_the_model(tmp_path, tiny_bundle, story, capsys):
    config = tmp_path / "bin.toml"
    config.write_text("[decision.bins]\nplastic = 'recycling'\n")
    assert main(["run", "--config", str(config), "--bundle", str(tiny_bundle), "--source", f"scene:{story}"]) == 2
    assert "decision.bins" in capsys.readouterr().err


def test_help_is_good_and_imports_nothing_heavy():
    code = "import sys, device.cli; device.cli.build_parser().format_help(); print('cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def endless(story, tiny_bundle):
    """A running daemon that has already decided something; killed at the end if it is still there."""
    command = [*RUN, "--source", f"scene:{story}", "--bundle", str(tiny_bundle), "--loop", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": ""},
    )
    for line in process.stdout:
        if '"decision"' in line:
            break
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_within_a_second_with_code_0(endless, number):
    begun_s = time.monotonic()
    endless.send_signal(number)
    out, err = endless.communicate(timeout=10)
    assert time.monotonic() - begun_s < 1.0
    assert endless.returncode == 0, err
    assert events(out, "lifecycle")[-1]["state"] == "STOPPING"
    assert "Summary" in err


def test_a_reader_that_goes_away_ends_it(endless):
    endless.stdout.close()
    assert endless.wait(10) == 0
    endless.stdout = None


def test_a_stalled_loop_ends_with_code_6(story, tiny_bundle):
    code = (
        "import sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "from device import pipeline\n"
        "pipeline.Pipeline.step = lambda self, frame: threading.Event().wait()\n"
        "from device.cli import main\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    arguments = ["run", "--source", f"scene:{story}", "--bundle", str(tiny_bundle), "--stall-seconds", "0.2"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 6, done.stderr
    assert "stands still" in done.stderr


def test_the_built_in_scene_with_the_built_in_bundle(capsys):
    """What `make demo` shows: every item of the story is decided once; the score itself is a figure, not a test."""
    for needed in (builtin_scene_path() / "story.json", builtin_bundle_path() / "manifest.json"):
        if not needed.is_file():
            pytest.skip(f"{needed.relative_to(ROOT)} is not here yet")
    assert main(["run", "--pace", "fast", "--json"]) == 0
    captured = capsys.readouterr()
    shown = {told.item for told in read_story(builtin_scene_path()).frames if told.item}
    decisions = events(captured.out)
    assert len(decisions) == len(shown)
    assert all(decision["truth"] for decision in decisions)
    assert "0 missed" in captured.err


@pytest.mark.parametrize("code", [0, 4])
def test_a_driver_that_hangs_does_not_keep_the_process(code, story, tiny_bundle):
    """The capture thread hangs for good; stopped by time the daemon ends with 0, given up with 4."""
    program = (
        "import sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "from device import opening\n"
        "from device.camera import ScriptedCamera\n"
        "class Hung(ScriptedCamera):\n"
        "    def read(self):\n"
        "        threading.Event().wait()\n"
        "opening.open_camera = lambda *_: Hung([], live=True)\n"
        "from device.cli import main\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    config = story / "bin.toml"
    config.write_text("[source]\nuri = 'camera:0'\n[source.reconnect]\nlost_after_s = 0.1\ngive_up_s = 0.3\n")
    arguments = ["run", "--config", str(config), "--bundle", str(tiny_bundle)]
    arguments += ["--max-seconds", "0.1"] if code == 0 else []
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code, done.stderr
    if code:
        assert "gave up" in done.stderr
