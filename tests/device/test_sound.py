from __future__ import annotations

import sys

import pytest

from device.clock import SystemClock
from device.events import Event
from device.sinks.settings import SoundSettings
from device.sinks.sound_sink import open_sound
from smartbin.errors import ConfigError
from tests.device.broker import wait_until
from tests.device.test_sinks import NOW, SESSION, decision

WRITE = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + chr(10))"


@pytest.fixture
def open_sink():
    sinks = []

    def open_one(**settings):
        sinks.append(open_sound(SoundSettings(enabled=True, **settings), SystemClock()))
        sinks[-1].start(SESSION)
        return sinks[-1]

    yield open_one
    for sink in sinks:
        sink.close()


def happened(kind, **changes):
    return Event(NOW, "decision", decision=decision(kind=kind, **changes))


def test_the_command_of_a_decision_is_run_without_a_shell(tmp_path, open_sink):
    path = tmp_path / "said"
    sink = open_sink(
        accepted=(sys.executable, "-c", WRITE, str(path), "{label} -> {bin}"),
        unsure=(sys.executable, "-c", WRITE, str(path), "hm"),
    )
    sink.event(happened("accepted", bin="$(touch x); `id`"))
    wait_until(lambda: sink.counts.sent == 1, "the first")
    sink.event(happened("uncertain"))
    wait_until(lambda: sink.counts.sent == 2, "the second")
    assert path.read_text() == "glass -> $(touch x); `id`\nhm\n"


def test_only_what_has_a_command_is_queued(open_sink):
    sink = open_sink(unsure=(sys.executable, "-c", ""))
    sink.event(happened("accepted"))
    sink.event(happened("too_dark"))
    wait_until(lambda: sink.counts.sent == 1, "the second")
    assert sink.counts.waiting == 0


def test_a_command_that_fails_is_said(open_sink):
    sink = open_sink(unsure=(sys.executable, "-c", "raise SystemExit('no speaker')"))
    sink.event(happened("uncertain"))
    wait_until(lambda: sink.counts.dropped == 1, "the failure")
    assert "ended with 1: no speaker" in sink.counts.last_error


def test_a_command_that_does_not_end_is_ended(open_sink):
    sink = open_sink(unsure=(sys.executable, "-c", "import time; time.sleep(600)"), timeout_s=0.2)
    sink.event(happened("uncertain"))
    wait_until(lambda: sink.counts.dropped == 1, "the end")
    assert "timed out" in sink.counts.last_error


def test_a_program_that_is_not_there():
    with pytest.raises(ConfigError, match="no such program"):
        open_sound(SoundSettings(unsure=("no-such-program-anywhere",)), SystemClock())
