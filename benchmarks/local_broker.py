"""A real Mosquitto on this machine, for the time of a row: a process of its own, so that its work is not counted."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smartbin.errors import InferenceError

_START_S, _LOOK_EVERY_S = 20.0, 0.05


def mosquitto() -> str | None:
    """Where Debian and others put it, None if it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def local_broker(program: str, folder: Path) -> Iterator[int]:
    """The port of a broker that listens while the body runs; `InferenceError` if it does not start."""
    port = free_port()
    configuration, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", f"user {getpass.getuser()}")
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with log.open("wb") as said:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=said, stderr=said)
    try:
        _wait_until_it_answers(port, process, log)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(_LOOK_EVERY_S)
        else:
            return
    raise InferenceError(
        "the broker did not start",
        where=f"mosquitto, port {port}",
        found=log.read_text(encoding="utf-8", errors="replace").strip()[-500:] or "no answer",
        fix="run mosquitto by itself",
    )
