"""What the page costs: the daemon's share of a core at 30 frames a second, without, with, and with people who look.

    python -m tests.device.web.page_cost [SECONDS]

It plays the built-in scene three times as fast, 640 x 480, through the built-in model, and counts the process's own CPU
time, so that what else runs on the machine does not matter. A viewer is a live picture and the status beside it, as the
page opens them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import psutil

from device.scene import builtin_scene_path

ROOT = Path(__file__).resolve().parents[3]
FPS = 30
SETTLE_S = 6.0


def quick_scene(folder: Path) -> Path:
    """The built-in scene at 30 frames a second."""
    shutil.copytree(builtin_scene_path(), folder)
    story = json.loads((folder / "story.json").read_text())
    (folder / "story.json").write_text(json.dumps({**story, "fps": FPS}))
    return folder


def measure(scene: Path, seconds: float, *, page: bool, viewers: int) -> tuple[float, float]:
    """The daemon's share of a core, and the frames a second that it took."""
    command = [
        sys.executable,
        str(ROOT / "device" / "run.py"),
        "--source",
        f"scene:{scene}",
        "--loop",
        "--pace",
        "real",
    ]
    command += ["--view", "off", "--threads", "1", "--json", str(scene / "events.jsonl"), *(["--page"] if page else [])]
    environment = {**os.environ, "SMARTBIN_PAGE__PORT": "0", "SMARTBIN_PAGE__VIEWERS": "8", "PYTHONPATH": ""}
    with ExitStack() as stack:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
        stack.callback(daemon.wait)
        stack.callback(daemon.terminate)
        address = ""
        if page:
            assert daemon.stderr is not None
            address = next(found[0] for line in daemon.stderr if (found := re.search(r"http://[\w.:]+", line)))
        for _ in range(viewers):
            for path in ("/api/live.mjpg", "/api/live"):
                viewer = subprocess.Popen(["curl", "-sN", "-o", os.devnull, address + path])
                stack.callback(viewer.kill)
        time.sleep(SETTLE_S)
        process = psutil.Process(daemon.pid)
        before, begun_s = process.cpu_times(), time.monotonic()
        time.sleep(seconds)
        after, took_s = process.cpu_times(), time.monotonic() - begun_s
        share = (after.user + after.system - before.user - before.system) / took_s
        return share, frames_per_second(address) if page else float("nan")


def frames_per_second(address: str) -> float:
    """What the metrics say."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=20) as answer:
        found = re.search(r"^smartbin_frames_per_second (\S+)", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else float("nan")


def main() -> None:
    """Measure, and print a line a case."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    cases = {"no page": (False, 0), "page closed": (True, 0), "one looks": (True, 1), "four look": (True, 4)}
    with tempfile.TemporaryDirectory() as folder:
        scene = quick_scene(Path(folder) / "scene")
        for name, (page, viewers) in cases.items():
            share, fps = measure(scene, seconds, page=page, viewers=viewers)
            print(f"{name:<12} {share:.4f} of a core, {fps:.1f} frames a second", flush=True)


if __name__ == "__main__":
    main()
