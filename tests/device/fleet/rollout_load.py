"""A signed bundle to a whole fleet of simulated bins through one Mosquitto: how long, and does every bin have it?

python -m tests.device.fleet.rollout_load [BINS] [AT_A_TIME]

The bins are MQTT sinks with desks in one process; each fetches, verifies and tests a tiny bundle of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

from device.cli import main
from tests.device.broker import Mosquitto, wait_until
from tests.device.fleet.stage import Foundry, StagedBin, web_server


def roll_out(folder: Path, bins: int, at_a_time: int) -> dict[str, object]:
    """What came of it; seconds."""
    foundry = Foundry(folder)
    archive, sha256 = foundry.archive("2")
    first, broker = foundry.bundle("1"), Mosquitto(folder / "broker").start()
    fleet = [StagedBin(folder, f"bin-{number:03d}", broker.port, first, foundry.public_key) for number in range(bins)]
    try:
        wait_until(
            lambda: all(each.sink._connection is not None and each.sink._connection.listens for each in fleet),
            "all bins",
        )
        with web_server(foundry.www) as url:
            order = ["--url", f"{url}/{archive.name}", "--sha256", sha256, "--at-a-time", str(at_a_time)]
            listed, pinged, installed, again = (
                _call(broker.port, *words)
                for words in (["list"], ["ping", "*"], ["install", *order, "*"], ["install", *order, "*"])
            )
        have_it = sum(each.current() == "2" for each in fleet)
    finally:
        for each in fleet:
            each.sink.ask_to_stop()
        for each in fleet:
            each.close()
        broker.kill()
    return {
        "bins": bins,
        "at_a_time": at_a_time,
        "list": listed,
        "ping": pinged,
        "install": installed,
        "again": again,
        "have_it": have_it,
    }


def _call(port: int, *words: str) -> dict[str, object]:
    said, begun_s = io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        code = main(["fleet", words[0], "--broker", f"127.0.0.1:{port}", "--json", *words[1:]])
    lines = said.getvalue().splitlines()
    return {"exit_code": code, "bins": len(lines), "seconds": round(time.monotonic() - begun_s, 1)}


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(roll_out(Path(place), *(numbers + [50, 10][len(numbers) :])), indent=1))
