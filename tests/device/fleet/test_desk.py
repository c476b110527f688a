"""The parts of the fleet without a broker: desk, ledger, roster, the configuration, the command line."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from device.cli import build_parser, main
from device.clock import ManualClock, SystemClock
from device.config import DeviceConfig, load_config
from device.events import Event
from device.fleet.actions import Done
from device.fleet.desk import CommandDesk
from device.fleet.joining import join_fleet
from device.fleet.ledger import Ledger
from device.fleet.messages import Answer, BundleName, new_command
from device.fleet.roster import Roster
from device.fleet.table import bin_record, duration, fleet_table
from device.fleet_command import _overrides
from device.sinks.bin_state import BinReport, BinState
from device.status import QueueCounts
from smartbin.bundle import builtin_bundle_path, read_bundle
from smartbin.errors import BundleError, ConfigError
from tests.device.test_sinks import NOW, SESSION

RUNS = BundleName(name="tiny", version="1", sha256="ab" * 32)


class StagedActions:
    """Does what it is told, when it is let."""

    def __init__(self) -> None:
        self.go_on, self.calls = threading.Event(), 0
        self.error: Exception | None = None
        self.activation = "next_start"

    def running(self) -> BundleName:
        return RUNS

    def rollback(self) -> Done:
        self.calls += 1
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        return Done("done", RUNS, self.activation)


@pytest.fixture
def staged(tmp_path):
    """A desk with staged actions; `answers` are what it has said."""
    actions, answers, reloads = StagedActions(), [], []

    def open_desk(**how) -> CommandDesk:
        ledger = Ledger(tmp_path / "commands.json")
        desk = CommandDesk("kitchen", actions, ledger, ManualClock(), request_reload=lambda: reloads.append(1), **how)
        desk.open(answers.append)
        return desk

    return SimpleNamespace(actions=actions, answers=answers, reloads=reloads, open=open_desk, path=tmp_path)


def command(name="rollback", after_s=60.0, **fields) -> bytes:
    expires = datetime.fromtimestamp(ManualClock().now_s(), timezone.utc) + timedelta(seconds=after_s)
    return new_command(name, expires, fields).model_dump_json().encode()


def phases(staged) -> list[str]:
    return [answer.phase for answer in staged.answers]


class TestDesk:
    def test_the_caller_never_waits(self, staged):
        desk = staged.open()
        desk.take(command(), retained=False)
        desk.take(command(), retained=False)
        assert phases(staged) == ["accepted", "refused"]
        staged.actions.go_on.set()
        desk.close(10)
        assert phases(staged) == ["accepted", "refused", "done"]
        assert staged.reloads == []

    def test_the_reload_is_asked_for_after_the_answer(self, staged):
        staged.actions.activation = "reloading"
        staged.actions.go_on.set()
        desk = staged.open()
        desk.take(command(), retained=False)
        desk.close(10)
        assert (phases(staged), staged.reloads) == (["accepted", "done"], [1])

    @pytest.mark.parametrize("error", [BundleError("damaged", where="here"), OSError("disk full"), KeyError("bug")])
    def test_whatever_fails_is_said(self, staged, error):
        staged.actions.error = error
        staged.actions.go_on.set()
        desk = staged.open()
        desk.take(command(), retained=False)
        desk.close(10)
        assert phases(staged) == ["accepted", "failed"]
        assert str(error.args[0]).split()[0] in staged.answers[-1].detail

    def test_after_the_end_nothing_is_begun(self, staged):
        desk = staged.open()
        desk.close(0)
        desk.take(command(), retained=False)
        assert (phases(staged), staged.actions.calls) == (["refused"], 0)

    def test_a_reason_to_refuse(self, staged):
        desk = staged.open(refusal="not today")
        desk.take(command(), retained=False)
        desk.take(command("ping"), retained=False)
        assert [(answer.phase, answer.detail) for answer in staged.answers] == [
            ("refused", "not today"),
            ("done", "here"),
        ]

    @pytest.mark.parametrize("payload", [b"", b"[]", b"5", b'"id"', b"[" * 10_000, b'{"id": "zz"}', b"{}", b"\xff"])
    def test_rubbish_is_dropped(self, staged, payload):
        desk = staged.open()
        desk.take(payload, retained=False)
        assert staged.answers == []

    def test_pings_are_not_written(self, staged):
        desk = staged.open()
        desk.take(command("ping"), retained=False)
        assert not (staged.path / "commands.json").exists()


class TestLedger:
    def answer(self, number: int, phase="done") -> Answer:
        return Answer(id=f"{number:032x}", device="kitchen", command="rollback", phase=phase, time=NOW)

    def test_a_hundred_are_remembered(self, tmp_path):
        ledger = Ledger(tmp_path / "new" / "commands.json")
        for number in range(120):
            ledger.put(self.answer(number))
        again = Ledger(tmp_path / "new" / "commands.json")
        assert again.get(f"{19:032x}") is None
        assert again.get(f"{20:032x}") == self.answer(20)

    def test_a_damaged_file_is_said(self, tmp_path, caplog):
        (tmp_path / "commands.json").write_text('{"answers": 5}')
        ledger = Ledger(tmp_path / "commands.json")
        assert "cannot be read" in caplog.text
        ledger.put(self.answer(1))
        assert Ledger(tmp_path / "commands.json").get(f"{1:032x}") is not None

    def test_a_disk_that_takes_nothing(self, tmp_path, caplog):
        (tmp_path / "file").touch()
        ledger = Ledger(tmp_path / "file" / "commands.json")
        ledger.put(self.answer(1))
        assert ledger.get(f"{1:032x}") is not None
        assert "until the next start only" in caplog.text


class TestRoster:
    def test_patterns_prefixes_and_what_is_missing(self):
        roster = Roster("site/smartbin", ["hall-*", "kitchen"])
        for name in ("hall-1", "hall-2", "cellar"):
            roster.take(f"site/smartbin/{name}/availability", b"online")
        roster.take("other/smartbin/kitchen/availability", b"online")
        roster.take("site/smartbin/kitchen/deeper/availability", b"online")
        assert [known.name for known in roster.bins] == ["hall-1", "hall-2"]
        assert roster.missing == ["kitchen"]

    def test_states_of_other_versions(self):
        """An old bin's state lacks half of it, a newer one's has more; both are shown."""
        roster, now = Roster("smartbin"), NOW + timedelta(seconds=90)
        roster.take("smartbin/old/availability", b"offline")
        roster.take("smartbin/old/state", b'{"name": "old", "state": "RUNNING", "model": "lite 1", "version": "0.0.9"}')
        newer = {**BinState("new", SESSION, "9.0").record(), "colour": "green", "time": NOW.isoformat()}
        roster.take("smartbin/new/state", json.dumps(newer).encode())
        roster.take("smartbin/odd/state", b'{"counts": {"decisions": "many"}}')
        new, odd, old = roster.bins
        assert (old.online, old.age_s(now), old.complete) == (False, None, True)
        assert (new.age_s(now), new.complete, new.well) == (90.0, False, False)
        assert bin_record(odd, now)["unreadable"]
        assert fleet_table(roster.bins, now).row_count == 3

    def test_a_bin_that_is_deleted(self):
        roster = Roster("smartbin")
        roster.take("smartbin/kitchen/availability", b"online")
        assert roster.take("smartbin/kitchen/availability", b"")
        assert roster.bins == []

    @pytest.mark.parametrize(
        ("seconds", "shown"), [(None, "–"), (-0.4, "0 s"), (5, "5 s"), (200, "3 min"), (9000, "2 h"), (-7200, "-2 h")]
    )
    def test_durations(self, seconds, shown):
        assert duration(seconds) == shown


def test_the_state_says_what_is_the_matter():
    clock = ManualClock()
    state = BinState("kitchen", SESSION, "1.0", clock)
    clock.advance(90)
    queues = [QueueCounts("store", 2, 1, 3, "disk full"), QueueCounts("webhook", 0, 4, 0)]
    record = state.record(BinReport(queues))
    assert record["uptime_s"] == 90
    assert record["health"] == {
        "ok": False,
        "camera": "unknown",
        "troubles": ["store: disk full"],
        "queues": {"store": {"waiting": 2, "dropped": 1}, "webhook": {"waiting": 0, "dropped": 4}},
    }
    state.update(Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged"))
    assert state.record()["health"]["troubles"] == ["camera: unplugged"]
    state.update(Event(NOW, "lifecycle", lifecycle="RUNNING"))
    assert state.record()["health"]["ok"]


class TestConfiguration:
    def test_commands_need_a_key_and_a_broker(self):
        bundle = read_bundle(builtin_bundle_path())
        with pytest.raises(ConfigError, match="come through a broker"):
            join_fleet(DeviceConfig(fleet={"commands": True}), lambda: bundle, [], list, SystemClock())

    def test_a_bin_without_a_key_does_not_start(self, tmp_path, capsys):
        pytest.importorskip("paho.mqtt", reason="no paho-mqtt here")
        file = tmp_path / "bin.toml"
        file.write_text("[sinks.mqtt]\nenabled = true\n[fleet]\ncommands = true\n")
        assert main(["run", "--config", str(file), "--source", "scene"]) == 2
        assert "must know whose bundles" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("broker", "host", "port"),
        [("mqtt.lan", "mqtt.lan", 1883), ("mqtt.lan:1884", "mqtt.lan", 1884), ("::1", "::1", 1883)],
    )
    def test_the_broker_of_the_command_line(self, broker, host, port):
        options = build_parser().parse_args(["fleet", "list", "--broker", broker, "--prefix", "site/bins"])
        mqtt = load_config(None, _overrides(options)).sinks.mqtt
        assert (mqtt.host, mqtt.resolved_port, mqtt.topic_prefix) == (host, port, "site/bins")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--url", "ftp://a/b.tar", "--sha256", "0" * 64], "http:// and https:// only"),
            (["--url", "http://a/b.tar", "--sha256", "12"], "--sha256"),
            (["--url", "http://a/b.tar", "--archive", "none.tar"], "cannot read the archive"),
            (["--url", "http://a:b@c/b.tar", "--sha256", "0" * 64], "no user or password"),
        ],
    )
    def test_orders_that_no_bin_would_take(self, arguments, said, capsys):
        pytest.importorskip("paho.mqtt", reason="no paho-mqtt here")
        assert main(["fleet", "install", *arguments, "kitchen"]) == 2
        assert said in capsys.readouterr().err

    def test_a_password_is_no_argument(self):
        text = build_parser().parse_args(["fleet", "list"])
        assert not hasattr(text, "password")
