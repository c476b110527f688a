"""The whole way: `smartbin fleet`, a real broker, a web server, bins that fetch, test, install and go back."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

pytest.importorskip("paho.mqtt", reason="no paho-mqtt here (pip install 'smartbin[mqtt]')")
pytest.importorskip("cryptography", reason="no cryptography here (pip install 'smartbin[sign]')")
pytest.importorskip("onnx", reason="no onnx here: the tests' bundles are made with it")

from device.cli import main
from device.clock import SystemClock
from device.config import load_config
from device.events import Event
from device.fleet.messages import new_command
from device.reload import Reloader, prepare
from device.run_command import run_setups
from smartbin.errors import InferenceError
from tests.device.broker import Listener, Mosquitto, free_port, needs_mosquitto, wait_until
from tests.device.fleet.stage import Foundry, StagedBin, StagedReloader, web_server
from tests.device.test_mqtt import item
from tests.device.test_sinks import NOW

pytestmark = needs_mosquitto


@pytest.fixture(scope="module")
def foundry(tmp_path_factory):
    return Foundry(tmp_path_factory.mktemp("foundry"))


@pytest.fixture(scope="module")
def first(foundry):
    return foundry.bundle("1")


@pytest.fixture
def web(foundry):
    with web_server(foundry.www) as url:
        yield url


@pytest.fixture
def open_bin(tmp_path, mosquitto, foundry, first):
    bins = []

    def open_one(name: str, **changes) -> StagedBin:
        key = changes.pop("public_key", foundry.public_key)
        bins.append(StagedBin(tmp_path, name, mosquitto.port, first, key, **changes))
        return bins[-1]

    yield open_one
    for each in bins:
        each.close()


@pytest.fixture
def fleet(mosquitto, capsys):
    """`smartbin fleet …` against this broker: exit code, records, stderr."""

    def call(action: str, *arguments: str):
        code = main(["fleet", action, "--broker", f"127.0.0.1:{mosquitto.port}", "--json", "--wait", "2", *arguments])
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    return call


def order(foundry, web, version: str, **how) -> list[str]:
    archive, sha256 = foundry.archive(version, **how)
    return ["--url", f"{web}/{archive.name}", "--sha256", sha256]


class TestLooking:
    def test_list_says_everything(self, open_bin, fleet, first):
        kitchen, _ = open_bin("kitchen"), open_bin("hall", fleet={"commands": False})
        kitchen.sink.event(Event(NOW, "lifecycle", lifecycle="RUNNING"))
        kitchen.sink.event(item(1))
        kitchen.sink.event(item(2, kind="uncertain"))
        wait_until(lambda: kitchen.sink.counts.sent == 3, "the events")
        wait_until(lambda: fleet("list", "kitchen")[1][0]["state"]["counts"]["decisions"] == 2, "the state")
        code, (hall, told), _ = fleet("list")
        assert (code, hall["name"], told["name"], told["online"]) == (0, "hall", "kitchen", True)
        assert (hall["state"]["commands"], told["state"]["commands"]) == (False, True)
        state = told["state"]
        assert state["bundle"]["version"] == "1"
        assert len(state["bundle"]["sha256"]) == 64
        assert state["health"] == {"ok": True, "camera": "ok", "troubles": [], "queues": {}}
        assert state["counts"]["uncertain"] == 1
        assert state["last"]["decision"] == "uncertain"
        assert 0 <= told["age_s"] < 60
        assert state["uptime_s"] >= 0

    def test_the_table_and_the_check(self, open_bin, mosquitto, capsys):
        open_bin("kitchen")
        hall = open_bin("hall")
        hall.sink.event(Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged"))
        wait_until(lambda: hall.sink.counts.sent == 1, "the event")
        broker = ["--broker", f"127.0.0.1:{mosquitto.port}"]
        assert main(["fleet", "list", *broker, "kitchen"]) == 0
        told = capsys.readouterr().out
        assert "online" in told
        assert "tiny 1" in told
        assert main(["fleet", "list", *broker]) == 0
        assert main(["fleet", "list", *broker, "--check"]) == 1
        assert "camera: unplugged" in capsys.readouterr().out
        assert main(["fleet", "list", *broker, "--check", "kit*"]) == 0
        hall.close()
        assert main(["fleet", "list", *broker, "hall"]) == 0
        assert "offline" in capsys.readouterr().out
        assert main(["fleet", "list", *broker, "cellar", "--wait", "0.6"]) == 1
        assert "cellar: the broker knows no bin" in capsys.readouterr().err

    def test_watch_sees_changes(self, open_bin, fleet):
        kitchen = open_bin("kitchen", mqtt={"state_every_s": 1.0})
        timer = threading.Timer(0.8, lambda: kitchen.sink.event(item(1)))
        timer.start()
        code, records, _ = fleet("watch", "--seconds", "2.5", "kitchen")
        timer.join()
        assert code == 0
        assert records[-1]["state"]["counts"]["decisions"] == 1

    def test_the_state_comes_again_without_news(self, open_bin, mosquitto):
        listener = Listener(mosquitto.port)
        try:
            open_bin("kitchen", mqtt={"state_every_s": 1.0})
            wait_until(lambda: len(listener.on("smartbin/kitchen/state")) >= 3, "three states")
        finally:
            listener.close()

    def test_forget(self, open_bin, fleet, mosquitto, capsys):
        kitchen, hall = open_bin("kitchen"), open_bin("hall")
        wait_until(lambda: len(fleet("list")[1]) == 2, "both bins")
        hall.close()
        assert main(["fleet", "forget", "--broker", f"127.0.0.1:{mosquitto.port}", "*"]) == 1  # one is connected
        told = capsys.readouterr()
        assert (told.out, told.err) == ("hall is forgotten\n", "kitchen is connected and is not forgotten\n")
        assert [record["name"] for record in fleet("list")[1]] == ["kitchen"]
        late = Listener(mosquitto.port)
        wait_until(lambda: late.on(f"smartbin/{kitchen.name}/state"), "what is retained")
        assert not [topic for topic, _, _ in late.messages if "hall" in topic]
        late.close()

    def test_a_broker_that_is_not_there(self, capsys):
        assert main(["fleet", "list", "--broker", f"127.0.0.1:{free_port()}"]) == 1
        assert "cannot listen to the fleet" in capsys.readouterr().err


class TestInstalling:
    def test_to_two_bins_and_back(self, open_bin, fleet, foundry, web):
        kitchen, hall = open_bin("kitchen"), open_bin("hall")
        code, outcomes, said = fleet("install", *order(foundry, web, "2"), "*")
        assert code == 0
        assert [(each["name"], each["result"]) for each in outcomes] == [("hall", "done"), ("kitchen", "done")]
        assert "self-test passed on 2 golden inputs; active after the next start" in outcomes[0]["detail"]
        assert "kitchen: testing" in said
        assert (kitchen.current(), hall.current()) == ("2", "2")
        assert not list((kitchen.folder / "bundles").glob(".incoming-*"))

        def told() -> dict:
            return fleet("list", "kitchen")[1][0]["state"]

        wait_until(lambda: told()["next_bundle"], "the news of the next bundle")
        assert (told()["bundle"]["version"], told()["next_bundle"]["version"]) == ("1", "2")
        assert fleet("install", *order(foundry, web, "3"), "kitchen")[0] == 0
        code, (outcome,), _ = fleet("rollback", "kitchen")
        assert (code, outcome["result"], kitchen.current()) == (0, "done", "2")
        assert outcome["bundle"].startswith("tiny 2 ")
        assert hall.current() == "2"

    def test_what_is_refused_changes_nothing(self, open_bin, fleet, foundry, web):
        """Another key, no signature, a damaged archive, another file than announced, a failing self-test."""
        kitchen = open_bin("kitchen")
        assert fleet("install", *order(foundry, web, "4"), "kitchen")[0] == 0
        damaged, _ = foundry.archive("5")
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        cases = {
            "not signed": order(foundry, web, "6", sign=False),
            "does not give the answers": order(foundry, web, "7", off=0.5),
            "not what was announced": ["--url", f"{web}/4.tar", "--sha256", "0" * 64],
            "damaged or was changed": ["--url", f"{web}/5.tar", "--archive", str(damaged)],
            "404": ["--url", f"{web}/none.tar", "--sha256", "0" * 64],
        }
        for said, arguments in cases.items():
            code, (outcome,), _ = fleet("install", *arguments, "kitchen")
            assert (code, outcome["result"]) == (1, "failed"), said
            assert said in outcome["detail"]
            assert kitchen.current() == "4"
        assert len([path for path in (kitchen.folder / "bundles").iterdir() if path.is_dir()]) == 2  # one and its link

    def test_the_first_failure_ends_it(self, open_bin, fleet, foundry, web, tmp_path):
        """The bin with another key is the canary; the one after it is left alone."""
        other = Foundry(_folder(tmp_path / "other"))
        canary, kitchen = open_bin("canary", public_key=other.public_key), open_bin("kitchen")
        code, outcomes, _ = fleet("install", *order(foundry, web, "8"), "*")
        assert code == 1
        assert [(each["name"], each["result"]) for each in outcomes] == [("canary", "failed"), ("kitchen", "skipped")]
        assert "the signature of the model bundle is wrong" in outcomes[0]["detail"]
        assert (canary.current(), kitchen.current()) == (None, None)

    def test_a_bin_that_loads_what_it_has_installed(self, open_bin, fleet, foundry, web, mosquitto):
        """With hot reload the fleet's desk waits until the bin's state says that the new bundle runs."""
        kitchen = open_bin("kitchen")
        kitchen.close()
        bundle = foundry.bundle("9")
        asked = threading.Event()
        kitchen.reloader = StagedReloader(asked.set)
        kitchen.start(foundry.bundle("10"))

        def reload():
            if asked.wait(10):
                kitchen.close()
                kitchen.start(bundle)

        reloading = threading.Thread(target=reload)
        reloading.start()
        code, (outcome,), told = fleet("install", *order(foundry, web, "9"), "kitchen")
        reloading.join()
        assert (code, outcome["detail"]) == (0, "installed and running")
        assert "being loaded" in told

    def test_a_bin_that_does_not_load_it(self, open_bin, fleet, foundry, web):
        kitchen = open_bin("kitchen")
        kitchen.close()
        kitchen.reloader = StagedReloader(lambda: None)
        kitchen.start(foundry.bundle("11"))
        arguments = [*order(foundry, web, "12"), "kitchen", "--active-within", "1"]
        code, (outcome,), _ = fleet("install", *arguments)
        assert (code, outcome["result"]) == (1, "failed")
        assert "does not run what it has installed" in outcome["detail"]

    def test_a_bin_that_refuses_it_says_why_at_once_and_in_the_list(self, open_bin, fleet, foundry, web):
        kitchen = open_bin("kitchen")
        kitchen.close()
        wrong = InferenceError("the model does not give its answers", where="/var/lib/bundle", found="3 of 8")
        kitchen.reloader = StagedReloader(lambda: threading.Timer(0.3, kitchen.reloader.refuse, (wrong,)).start())
        kitchen.start(foundry.bundle("17"))
        code, (outcome,), _ = fleet("install", *order(foundry, web, "18"), "kitchen", "--active-within", "60")
        told = "the model does not give its answers; /var/lib/bundle; 3 of 8"
        assert (code, outcome["detail"]) == (1, f"installed, but not taken: {told}")
        assert outcome["took_s"] < 60
        code, (listed,), _ = fleet("list", "--check", "kitchen")
        assert (code, listed["state"]["health"]["ok"]) == (1, False)
        assert listed["state"]["health"]["troubles"] == [f"not taken: {told}"]
        assert (listed["state"]["refusal"]["what"], listed["state"]["next_bundle"]["version"]) == (told, "18")
        kitchen.reloader.refusal = None
        kitchen.reloader.on_refusal()
        wait_until(lambda: fleet("list", "--check", "kitchen")[0] == 0, "a bin that is well again")

    def test_bins_that_take_no_commands_or_are_not_there(self, open_bin, fleet, foundry, web):
        open_bin("deaf", fleet={"commands": False})
        fixed = open_bin("fixed", runtime={"bundle": foundry.folder})
        gone = open_bin("gone")
        wait_until(lambda: len(fleet("list")[1]) == 3, "all bins")
        gone.close()
        code, outcomes, _ = fleet("ping", "*", "nobody")
        assert code == 1
        found = {each["name"]: each["result"] for each in outcomes}
        assert found == {"deaf": "failed", "fixed": "done", "gone": "offline", "nobody": "unknown"}
        (outcome,) = fleet("install", *order(foundry, web, "13"), "fixed")[1]
        assert "[runtime] bundle" in outcome["detail"]
        assert fixed.current() is None

    def test_a_bin_that_does_not_answer(self, open_bin, fleet, foundry, web):
        kitchen = open_bin("kitchen")
        kitchen.sink._desk.take = lambda payload, retained: None  # its daemon hangs, paho's thread goes on
        code, (outcome,), _ = fleet("ping", "kitchen", "--answer-within", "0.5")
        assert (code, outcome["result"]) == (1, "no_answer")

    def test_a_bin_that_does_not_come_to_an_end(self, open_bin, fleet):
        kitchen = open_bin("kitchen")
        kitchen.sink._desk._work = lambda command: None
        code, (outcome,), said = fleet("rollback", "kitchen", "--timeout", "1")
        assert (code, outcome["result"], outcome["detail"]) == (1, "no_answer", "no end after 1 s")
        assert "kitchen: accepted" in said

    def test_a_lost_answer_is_asked_for_again(self, open_bin, fleet, foundry, web):
        kitchen = open_bin("kitchen")
        kitchen.sink._answers = _Forgetful(kitchen.sink._answers)
        code, (outcome,), _ = fleet("install", *order(foundry, web, "14"), "kitchen", "--answer-within", "3")
        assert (code, outcome["result"], kitchen.current()) == (0, "done", "14")


class _Forgetful(list):
    """Loses the answers of the first second, whatever they are."""

    def __init__(self, old) -> None:
        super().__init__(old)
        self._begun_s = None

    def append(self, answer) -> None:
        self._begun_s = self._begun_s or time.monotonic()
        if time.monotonic() - self._begun_s > 0.5:
            super().append(answer)

    def popleft(self):
        return self.pop(0)

    def extendleft(self, answers) -> None:
        for answer in answers:
            self.insert(0, answer)


DAEMON = """
[device]
name = "kitchen"
[source]
loop = true
pace = "fast"
[sinks]
terminal = "off"
[sinks.mqtt]
enabled = true
host = "127.0.0.1"
port = {port}
buffer_file = "{folder}/outbox.db"
[bundles]
folder = "{folder}/bundles"
public_key = "{key}"
[fleet]
commands = true
max_mb = 1
[store]
enabled = "on"
folder = "{folder}/store"
[runtime]
runtime = "onnxruntime-cpu"
threads = 1
"""


def test_the_daemon_takes_what_it_is_sent(mosquitto, foundry, first, web, fleet, story, tmp_path, capsys):
    """`smartbin run` itself: listed with model and store; a bundle is installed and taken while it goes on sorting."""
    file = tmp_path / "bin.toml"
    file.write_text(DAEMON.format(port=mosquitto.port, folder=tmp_path, key=foundry.public_key))
    assert main(["bundle", "install", str(first.path), "--config", str(file)]) == 0
    capsys.readouterr()
    stop = threading.Event()

    def read():
        return load_config(file, {"source.uri": str(story)}), {}

    def run():
        with Reloader(read) as reloader:
            run_setups(prepare(*read()), SystemClock(), stop, reloader)

    def state() -> dict:
        return fleet("list", "kitchen")[1][0]["state"]

    daemon = threading.Thread(target=run)
    daemon.start()
    try:
        wait_until(lambda: fleet("ping", "kitchen")[0] == 0, "the bin")
        wait_until(lambda: state()["counts"]["decisions"] >= 1, "a decision")
        told = state()
        assert (told["bundle"]["version"], told["next_bundle"], told["state"]) == ("1", None, "RUNNING")
        assert set(told["health"]["queues"]) == {"store", "pictures", "mqtt"}
        assert told["health"]["ok"]
        code, (outcome,), said = fleet("install", *order(foundry, web, "20"), "kitchen")
        assert (code, outcome["detail"]) == (0, "installed and running")
        assert "being loaded" in said
        wait_until(lambda: state()["counts"]["decisions"] >= 1, "a decision of the new one")
        assert (state()["bundle"]["version"], state()["next_bundle"]) == ("20", None)
        code, (outcome,), _ = fleet("rollback", "kitchen")
        assert (code, outcome["detail"]) == (0, "installed and running")
        assert state()["bundle"]["version"] == "1"
    finally:
        stop.set()
        daemon.join()


class TestCommands:
    """What comes on the topic, sent by hand."""

    @pytest.fixture
    def talk(self, mosquitto):
        from paho.mqtt import publish

        listener = Listener(mosquitto.port)

        def send(payload: str | bytes, **how) -> None:
            publish.single("smartbin/kitchen/command", payload, qos=1, port=mosquitto.port, **how)

        send.answers = lambda: [json.loads(payload) for payload in listener.on("smartbin/kitchen/answer")]
        yield send
        listener.close()

    def ready(self, bin_: StagedBin) -> StagedBin:
        wait_until(lambda: bin_.sink._connection is not None and bin_.sink._connection.listens, "the subscription")
        return bin_

    def command(self, name="rollback", *, expires_s=60.0, **fields) -> str:
        return new_command(name, datetime.now(timezone.utc) + timedelta(seconds=expires_s), fields).model_dump_json()

    def test_twice_is_once_also_over_a_restart(self, open_bin, foundry, web, fleet, talk, first):
        kitchen = open_bin("kitchen")
        for version in ("15", "16"):
            assert fleet("install", *order(foundry, web, version), "kitchen")[0] == 0
        before = len(talk.answers())
        command = self.command()
        talk(command)
        talk(command)  # perhaps while it is being carried out
        wait_until(lambda: "done" in [each["phase"] for each in talk.answers()[before:]], "the answer")
        done = len(talk.answers())
        talk(command)
        wait_until(lambda: [each["phase"] for each in talk.answers()[done:]][-1:] == ["done"], "the same answer")
        assert kitchen.current() == "15"
        kitchen.close()
        kitchen.start(first)
        self.ready(kitchen)
        done = len(talk.answers())
        talk(command)
        wait_until(lambda: [each["phase"] for each in talk.answers()[done:]] == ["done"], "the same answer again")
        assert kitchen.current() == "15"

    def test_old_kept_and_strange_ones(self, open_bin, talk, caplog, mosquitto):
        talk(self.command(), retain=True)  # before the bin is there
        self.ready(open_bin("kitchen"))
        talk(self.command(expires_s=-1))
        talk(self.command(expires_s=100_000))
        talk("no JSON")
        talk('{"id": 5}')
        talk(b"\xff" * 20_000)
        talk(b"x" * 200_000)  # the broker keeps it for itself
        talk('{"id": "' + "ab" * 16 + '", "command": "explode", "expires": "2026-01-01T00:00:00Z"}')
        talk(self.command("ping"))
        wait_until(lambda: [each["phase"] for each in talk.answers()][-1:] == ["done"], "the ping's answer")
        answers = talk.answers()
        assert [each["phase"] for each in answers] == ["refused", "refused", "refused", "done"]
        assert "has expired, or one of the clocks is wrong" in answers[0]["detail"]
        assert "does not know this" in answers[2]["detail"]
        assert caplog.text.count("not taken as a command") == 1

    def test_one_at_a_time(self, open_bin, talk, foundry, tmp_path):
        from tests.device.fleet.test_fetch import SlowHandler

        kitchen = self.ready(open_bin("kitchen"))
        archive, sha256 = foundry.archive("17")
        with web_server(foundry.www, SlowHandler) as url:
            talk(self.command("install", url=f"{url}/{archive.name}", sha256=sha256))
            wait_until(lambda: any(each["phase"] == "fetching" for each in talk.answers()), "the download")
            talk(self.command())
            talk(self.command("ping"))
            wait_until(lambda: any(each["command"] == "ping" for each in talk.answers()), "the ping's answer")
            assert [each["phase"] for each in talk.answers() if each["command"] == "rollback"] == ["refused"]
            assert "one at a time" in next(each["detail"] for each in talk.answers() if each["command"] == "rollback")
            kitchen.sink.event(item(1))
            wait_until(lambda: kitchen.sink.counts.sent == 1, "an event meanwhile")
            begun_s = time.monotonic()
            kitchen.close()  # the bin is stopped in the middle of the download
            assert time.monotonic() - begun_s < 20
            SlowHandler.go_on.set()
        SlowHandler.go_on.clear()
        assert kitchen.current() is None

    def test_a_restart_in_the_middle_is_said(self, open_bin, talk, first, tmp_path):
        kitchen = self.ready(open_bin("kitchen"))
        command = self.command()
        kitchen.sink._desk._work = lambda command: None  # killed after it has taken it
        talk(command)
        wait_until(lambda: [each["phase"] for each in talk.answers()] == ["accepted"], "the acceptance")
        kitchen.close()
        kitchen.start(first)
        wait_until(lambda: [each["phase"] for each in talk.answers()] == ["accepted", "failed"], "the news")
        assert "restarted in the middle" in talk.answers()[1]["detail"]

    def test_a_broker_that_restarts_meanwhile(self, open_bin, mosquitto, fleet, foundry):
        """Bin and desk find each other again, and the installation is done once."""
        from tests.device.fleet.test_fetch import SlowHandler

        self.ready(open_bin("kitchen"))
        archive, sha256 = foundry.archive("18")
        with web_server(foundry.www, SlowHandler) as url:

            def restart():
                mosquitto.kill()
                mosquitto.start()
                SlowHandler.go_on.set()

            timer = threading.Timer(1.0, restart)
            timer.start()
            arguments = ["--url", f"{url}/{archive.name}", "--sha256", sha256, "kitchen", "--answer-within", "6"]
            code, (outcome,), _ = fleet("install", *arguments)
            timer.join()
        SlowHandler.go_on.clear()
        assert (code, outcome["result"]) == (0, "done")


class TestRights:
    """The access list that docs/operations.md gives: a bin speaks for itself alone."""

    @pytest.fixture
    def guarded(self, tmp_path):
        import subprocess
        from pathlib import Path

        import device
        from tests.device.test_mqtt import MOSQUITTO_PASSWD

        for create, user in ((["-c"], "kitchen"), ([], "hall"), ([], "operator")):
            subprocess.run([MOSQUITTO_PASSWD, *create, "-b", tmp_path / "users", user, "pw"], check=True)
        acl = Path(device.__file__).parent / "examples" / "fleet" / "mosquitto.acl"
        lines = [f"acl_file {acl}"]
        broker = Mosquitto(tmp_path / "broker", *lines, listener=f"password_file {tmp_path}/users").start()
        yield broker
        broker.kill()

    def test_bins_and_operator(self, guarded, tmp_path, foundry, first, monkeypatch, capsys):
        monkeypatch.setenv("SMARTBIN_SINKS__MQTT__PASSWORD", "pw")
        bins = [
            StagedBin(tmp_path, name, guarded.port, first, foundry.public_key, mqtt={"user": name, "password": "pw"})
            for name in ("kitchen", "hall")
        ]
        try:
            broker = ["--broker", f"127.0.0.1:{guarded.port}"]
            assert main(["fleet", "ping", *broker, "--user", "operator", "kitchen", "hall"]) == 0
            capsys.readouterr()
            code = main(["fleet", "ping", *broker, "--user", "hall", "--json", "kitchen", "--wait", "0.5"])
            assert code == 1  # a bin may not even listen to another one
            bins[0].sink.event(item(1))
            wait_until(lambda: bins[0].sink.counts.sent == 1, "an event")
            (tmp_path / "wrong").write_text("wrong\n")
            monkeypatch.delenv("SMARTBIN_SINKS__MQTT__PASSWORD")
            wrong = ["--user", "operator", "--password-file", str(tmp_path / "wrong")]
            capsys.readouterr()
            assert main(["fleet", "list", *broker, *wrong]) == 1
            assert "Not authorized" in capsys.readouterr().err
        finally:
            for each in bins:
                each.close()


def _folder(path):
    path.mkdir()
    return path
