"""The service of systemd: what it is told over a real socket, and the unit file as systemd itself reads it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from device.cli import build_parser
from device.clock import ManualClock
from device.events import Event, Session
from device.service_notifier import ServiceNotifier
from device.watchdog import Watchdog
from smartbin import errors

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "device" / "systemd" / "smartbin.service"
SESSION = Session("camera:0", "lite 1 (int8)", "onnxruntime-cpu", ("glass", "metal"), 0.5)


@pytest.fixture
def manager(tmp_path):
    """The end that systemd listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        yield listener


def waiting(manager) -> list[str]:
    manager.setblocking(False)
    heard = []
    try:
        while True:
            heard.append(manager.recv(4096).decode())
    except BlockingIOError:
        return heard


@pytest.fixture
def notifier(manager):
    """Makes a notifier of an environment, a started one; all are closed at the end."""
    made = []

    def make(clock=None, **environment) -> ServiceNotifier:
        told = ServiceNotifier.of_environment(
            clock or ManualClock(), {"NOTIFY_SOCKET": manager.getsockname(), **environment}
        )
        assert told is not None
        made.append(told)
        told.start(SESSION)
        return told

    yield make
    for told in made:
        told.end()


def lifecycle(state, reason=None) -> Event:
    return Event(datetime.now(timezone.utc), "lifecycle", lifecycle=state, reason=reason)


def test_each_change_is_said_with_what_runs(manager, notifier):
    told = notifier()
    told.event(lifecycle("STARTING"))
    told.event(lifecycle("RUNNING"))
    told.event(lifecycle("CAMERA_LOST", "camera:0: no frame\nfor 2 s"))
    told.event(lifecycle("STOPPING"))
    told.alive()  # nobody asked for it
    what = "camera:0, lite 1 (int8), onnxruntime-cpu"
    assert waiting(manager) == [
        f"READY=1\nSTATUS=waiting for the camera: {what}",
        f"STATUS=watching: {what}",
        "STATUS=camera lost: camera:0: no frame for 2 s",
        f"STOPPING=1\nSTATUS=stopping: {what}",
    ]


def test_a_reload_is_no_stop_and_ends_with_ready(manager, notifier):
    told = notifier()
    told.reloading()
    told.reloaded()  # it was refused
    told.reloading()
    told.event(lifecycle("STOPPING"))  # of the run that makes way
    told.event(lifecycle("STARTING"))
    told.event(lifecycle("STOPPING"))  # of one that fails at once: the one before comes back
    told.event(lifecycle("STARTING"))
    told.event(lifecycle("RUNNING"))
    told.event(lifecycle("STOPPING"))
    heard = [text.split("\n") for text in waiting(manager)]
    firsts = ["RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "READY=1"]
    assert [lines[0] for lines in heard] == [*firsts, heard[5][0], "STOPPING=1"]
    assert heard[5][0].startswith("STATUS=watching")
    assert all(lines[1].startswith("MONOTONIC_USEC=") for lines in heard if lines[0] == "RELOADING=1")
    assert heard[1][1].endswith("the new configuration was refused")


def test_alive_is_said_four_times_in_the_time_that_systemd_waits_and_only_for_progress(manager, notifier):
    clock = ManualClock()
    told = notifier(clock, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid()))
    watchdog = Watchdog(100.0, clock, on_feed=told.alive)
    for _ in range(30):  # three seconds of a loop
        watchdog.feed()
        clock.advance(0.1)
    assert waiting(manager) == ["WATCHDOG=1"] * 3
    clock.advance(60)  # the main loop hangs: nothing feeds it
    assert waiting(manager) == []


def test_a_watchdog_of_another_process_is_not_fed(manager, notifier):
    told = notifier(WATCHDOG_USEC="4000000", WATCHDOG_PID="1")
    told.alive()
    assert waiting(manager) == []


def test_children_do_not_inherit_the_socket(manager):
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "7", "HOME": "/"}
    told = ServiceNotifier.of_environment(ManualClock(), environment)
    assert told is not None
    told.end()
    assert environment == {"HOME": "/"}
    assert ServiceNotifier.of_environment(ManualClock(), environment) is None


def test_an_abstract_socket(notifier):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = f"smartbin-test-{os.getpid()}"
        listener.bind("\0" + name)
        listener.settimeout(20)
        notifier(NOTIFY_SOCKET=f"@{name}").event(lifecycle("STARTING"))
        assert listener.recv(4096).startswith(b"READY=1\n")


def test_nobody_there_is_said_once_and_the_bin_goes_on(notifier, tmp_path, caplog):
    told = notifier(NOTIFY_SOCKET=str(tmp_path / "gone"))
    told.event(lifecycle("STARTING"))
    told.event(lifecycle("RUNNING"))
    assert [record.message.split(":")[0] for record in caplog.records] == ["systemd cannot be told 'READY=1'"]


def test_smartbin_run_says_ready_alive_and_stopping(manager):
    environment = {**os.environ, "NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1000000"}
    command = [sys.executable, "-m", "device.cli", "run", "--source", "scene", "--view", "off", "--max-seconds", "2"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    heard = waiting(manager)
    assert heard[0].startswith("READY=1\nSTATUS=waiting for the camera: scene, ")
    assert heard[-1].startswith("STOPPING=1\n")
    assert heard.count("WATCHDOG=1") >= 3


def setting(name: str) -> str:
    return re.search(rf"(?m)^{name}=(.*)$", UNIT.read_text(encoding="utf-8"))[1]


def test_the_unit_starts_what_there_is_and_restarts_where_that_can_help():
    program, *arguments = setting("ExecStart").split()
    assert program.endswith("/smartbin")
    assert build_parser().parse_args(arguments).config == Path("/etc/smartbin/smartbin.toml")
    hopeless = {str(error.exit_code) for error in (errors.ConfigError, errors.BundleError)}
    worth_it = {str(error.exit_code) for error in (errors.CameraError, errors.InferenceError, errors.StalledError)}
    assert set(setting("RestartPreventExitStatus").split()) == hopeless
    assert not hopeless & worth_it
    starts = float(setting("StartLimitIntervalSec")) / float(setting("RestartSec"))
    assert starts < int(setting("StartLimitBurst"))  # a camera that is missing at every start never uses them up
    assert float(setting("WatchdogSec")) > 2 * 15  # ours says what stood still, so it has to be first


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_reads_the_unit_without_a_word(tmp_path):
    text = UNIT.read_text(encoding="utf-8").replace(setting("ExecStart").split()[0], sys.executable)
    copy = tmp_path / "smartbin.service"
    copy.write_text(re.sub(r"(?m)^User=.*", "User=root", text))
    for arguments in (["verify", str(copy)], ["security", "--offline=yes", "--threshold=30", str(copy)]):
        ended = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "smartbin.service:" not in ended.stderr
