"""Another configuration or model while the bin runs: by SIGHUP in a real process, and piece by piece."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import pytest

from device import reload, run_command
from device.clock import ManualClock, SystemClock
from device.config import load_config_with_origins
from device.reload import LinkedStop, Reloader, prepare, prepare_first
from device.run_command import Ended, run_setups
from smartbin.bundle_store import BundleStore
from smartbin.errors import BundleError, CameraError, ConfigError, InferenceError
from smartbin.signing import make_key
from tests.device.broker import wait_until
from tests.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, str(ROOT / "device" / "run.py")]


until = partial(wait_until, what="it", timeout_s=30.0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(reload, "_SETTLE_S", 0.0)


@pytest.fixture
def read(tiny_bundle):
    return lambda: load_config_with_origins(None, {"runtime.bundle": tiny_bundle})


class TestReloader:
    def test_what_is_asked_for_is_prepared_and_given_once(self, read, tiny_bundle):
        with Reloader(read) as reloader:
            assert not reloader.due
            reloader.request()
            until(lambda: reloader.due)
            setup = reloader.take()
            assert setup.bundle.path == tiny_bundle
            assert setup.classifier.classes == ("red", "green", "blue")
            assert reloader.take() is None
            assert not reloader.due
            setup.classifier.close()

    def test_what_is_refused_changes_nothing_and_is_said(self, read, caplog):
        answers = [ConfigError("unknown key", where="bin.toml"), None]

        def read_now():
            if (error := answers.pop(0)) is not None:
                raise error
            return read()

        with Reloader(read_now) as reloader:
            reloader.request()
            assert until(lambda: reloader.refusal).told == "unknown key; bin.toml"
            assert not reloader.due
            reloader.request()
            until(lambda: reloader.due)
            assert reloader.refusal is None
        assert "not taken, the bin goes on as it was: unknown key" in caplog.text

    def test_a_refusal_is_told_in_one_line_at_once_and_forgotten_when_it_is_asked_again(self, read):
        told, asked = [], threading.Event()
        wrong = ConfigError("wrong value", where="bin.toml, key page.port", found="'x'", fix="a number")

        def read_now():
            if asked.is_set():
                return read()
            raise wrong

        with Reloader(read_now) as reloader:
            reloader.on_refusal = lambda: told.append(reloader.refusal.told)
            reloader.request()
            until(lambda: told)
            assert told == ["wrong value; bin.toml, key page.port; 'x'"]
            asked.set()
            reloader.request()
            assert reloader.refusal is None
            until(lambda: reloader.due)

    def test_a_model_that_fails_its_self_test_is_refused(self, read, monkeypatch):
        def fail(bundle, classifier):
            raise InferenceError("the model does not give the answers that it gave at its export")

        monkeypatch.setattr(reload, "self_test", fail)
        with Reloader(read) as reloader:
            reloader.request()
            until(lambda: reloader.refusal)
            assert not reloader.due

    def test_what_was_never_taken_is_closed(self, read, monkeypatch):
        closed = []
        original = reload.prepare

        def watched(*arguments, **options):
            setup = original(*arguments, **options)
            close = setup.classifier.close
            monkeypatch.setattr(setup.classifier, "close", lambda: (closed.append(setup), close()), raising=False)
            return setup

        monkeypatch.setattr(reload, "prepare", watched)
        with Reloader(read) as reloader:
            reloader.request()
            first = until(lambda: reloader._ready)
            reloader.request()
            second = until(lambda: reloader._ready if reloader._ready is not first else None)
        assert closed == [first, second]


class TestFirst:
    """The bundle at the start of the daemon: the installed one, or what there is instead."""

    @pytest.fixture
    def installed(self, tmp_path):
        """Versions 1 and 2, one after the other; the second is current."""
        self.told = []
        store = BundleStore(tmp_path / "bundles")
        for version in ("1", "2"):
            store.install(write_tiny_bundle(tmp_path / version, version=version).path, lambda copy: None)
        return store

    def first(self, tmp_path, **fields):
        config, origins = load_config_with_origins(None, {"bundles.folder": tmp_path / "bundles", **fields})
        setup = prepare_first(config, origins, self.told.append)
        setup.classifier.close()
        return setup.bundle.manifest.version

    @staticmethod
    def damage(folder):
        model = folder / "model.onnx"
        model.write_bytes(model.read_bytes()[:-1] + b"?")

    def test_a_whole_one_runs(self, tmp_path, installed):
        assert self.first(tmp_path) == "2"
        assert self.told == []

    @pytest.mark.parametrize("harm", ["damaged", "gone"])
    def test_instead_of_a_damaged_or_lost_one_the_one_before_runs(self, tmp_path, installed, harm, caplog):
        if harm == "gone":
            shutil.rmtree(installed.current)
        else:
            self.damage(installed.current)
        assert self.first(tmp_path) == "1"
        assert "the installed bundle is refused, the one before it runs" in caplog.text
        assert [str(installed.current) in str(error) for error in self.told] == [True]

    def test_where_both_are_damaged_the_first_refusal_is_told(self, tmp_path, installed):
        self.damage(installed.current)
        self.damage(installed.previous)
        with pytest.raises(BundleError) as caught:
            self.first(tmp_path)
        assert str(installed.current) in str(caught.value)
        assert caught.value.exit_code == 3

    def test_an_unsigned_one_before_is_no_way_out(self, tmp_path, installed):
        pytest.importorskip("cryptography", reason="no cryptography here: signatures cannot be looked at")
        with pytest.raises(BundleError):
            self.first(tmp_path, **{"bundles.public_key": make_key(tmp_path / "private.pem")})

    def test_one_that_is_named_has_none_before_it(self, tmp_path, installed):
        self.damage(installed.current)
        with pytest.raises(BundleError):
            self.first(tmp_path, **{"runtime.bundle": installed.current})


class TestLinkedStop:
    def test_it_is_set_with_the_other_one_and_not_the_other_way_round(self):
        everything = threading.Event()
        one, another = LinkedStop(everything), LinkedStop(everything)
        one.set()
        assert one.is_set()
        assert not another.is_set()
        assert not everything.is_set()
        threading.Timer(0.05, everything.set).start()
        assert another.wait(20)

    def test_waiting_ends_in_time(self):
        assert not LinkedStop(threading.Event()).wait(0.05)


class Prepared:
    """A reloader with setups that are ready one after the other."""

    def __init__(self, setups) -> None:
        self.setups, self.refused = setups, []

    def take(self):
        return self.setups.pop() if self.setups else None

    def refuse(self, error) -> None:
        self.refused.append(error.what)


class TestSetups:
    @pytest.fixture
    def staged(self, read, monkeypatch, tmp_path):
        """Runs that end as they are told to; returns what was run, by the bundle's version."""
        ran, bundles = [], {version: write_tiny_bundle(tmp_path / version, version=version) for version in "12"}

        def stage(*endings: Ended):
            left = list(endings)

            def run_daemon(setup, *rest, memory):
                ran.append(setup.bundle.manifest.version)
                setup.classifier.close()
                return left.pop(0)

            monkeypatch.setattr(run_command, "run_daemon", run_daemon)
            config, origins = read()
            following = [prepare(config, origins, bundle=bundles["2"])]
            reloader = Prepared(following)
            stage.reloader = reloader
            first = prepare(config, origins, bundle=bundles["1"])
            try:
                run_setups(first, ManualClock(), threading.Event(), reloader)
            finally:
                for setup in following:
                    setup.classifier.close()
            return ran

        stage.ran = ran
        return stage

    def test_the_next_one_follows(self, staged):
        assert staged(Ended(100), Ended(50)) == ["1", "2"]

    def test_one_that_fails_before_its_first_frame_makes_way_for_the_one_before(self, staged, caplog):
        assert staged(Ended(100), Ended(0, CameraError("no such camera")), Ended(7)) == ["1", "2", "1"]
        assert "back to the one before: no such camera" in caplog.text
        assert staged.reloader.refused == ["no such camera"]

    def test_one_that_has_worked_fails_for_good(self, staged):
        with pytest.raises(InferenceError):
            staged(Ended(100), Ended(1, InferenceError("the GPU has gone")))
        assert staged.ran == ["1", "2"]

    def test_the_first_one_has_nothing_to_go_back_to(self, staged):
        with pytest.raises(CameraError):
            staged(Ended(0, CameraError("no such camera")))
        assert staged.ran == ["1"]

    @pytest.mark.parametrize("threads", [1, 2])
    def test_each_runs_with_its_own_threads_of_opencv(self, tiny_bundle, story, threads):
        wanted = {"source.uri": f"scene:{story}", "source.pace": "fast", "runtime.bundle": tiny_bundle}
        config, origins = load_config_with_origins(None, wanted | {"runtime.opencv_threads": threads})
        before = cv2.getNumThreads()
        try:
            with Reloader(lambda: (config, origins)) as reloader:
                ended = run_command.run_daemon(prepare(config, origins), SystemClock(), threading.Event(), reloader)
            assert (ended.failure, cv2.getNumThreads()) == (None, threads)
        finally:
            cv2.setNumThreads(before)


class RunningBin:
    """A daemon over a looped scene, with a configuration that can be changed."""

    def __init__(self, folder: Path, story: Path) -> None:
        self.config, self.events, self.log = folder / "bin.toml", folder / "events.jsonl", folder / "log"
        self._story = story
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.setblocking(False)
        self._heard: list[str] = []

    def configure(self, bundle: Path, source: str = "", more: str = "") -> None:
        source = source or f"scene:{self._story}"
        self.config.write_text(
            f'{more}\n[source]\nuri = "{source}"\nloop = true\n[runtime]\nbundle = "{bundle}"\n'
            f'[sinks]\njson_lines = "{self.events}"\nterminal = "off"\n'
        )

    @contextmanager
    def running(self):
        environment = {**os.environ, "NOTIFY_SOCKET": self.manager.getsockname(), "PYTHONPATH": ""}
        with self.log.open("w") as log:
            process = subprocess.Popen(
                [*RUN, "--config", str(self.config)], stdin=subprocess.DEVNULL, stderr=log, env=environment
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            self.manager.close()

    def said(self, text: str, times: int = 1):
        until(lambda: self.log.read_text().count(text) >= times)

    def states(self) -> list[str]:
        if not self.events.exists():
            return []
        told = [json.loads(line) for line in self.events.read_text().splitlines() if line.endswith("}")]
        return [event["state"] for event in told if event["event"] == "lifecycle"]

    def heard(self) -> list[str]:
        """The first line of everything that systemd was told."""
        try:
            while True:
                self._heard.append(self.manager.recv(4096).decode().splitlines()[0].split(":")[0])
        except BlockingIOError:
            return self._heard


def test_hangup_reads_the_configuration_again_and_a_bad_one_changes_nothing(tmp_path, story):
    bundles = [write_tiny_bundle(tmp_path / f"bundle{version}", version=str(version)).path for version in (1, 2)]
    bin_ = RunningBin(tmp_path, story)
    bin_.configure(bundles[0])
    with bin_.running() as process:
        until(lambda: bin_.states() == ["STARTING", "RUNNING"])

        bin_.configure(bundles[0], more="[nonsense]\nkey = 1")
        process.send_signal(signal.SIGHUP)
        bin_.said("not taken, the bin goes on as it was")
        assert "nonsense" in bin_.log.read_text()

        bin_.configure(bundles[1])
        process.send_signal(signal.SIGHUP)
        bin_.said(f"taken: {bundles[1]}")
        until(lambda: bin_.states() == ["STARTING", "RUNNING", "STOPPING", "STARTING", "RUNNING"])

        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        heard = bin_.heard()
    ready = ["READY=1", "STATUS=watching"]
    assert heard == [*ready, "RELOADING=1", "READY=1", "RELOADING=1", *ready, "STOPPING=1"]


def test_a_terminal_that_is_closed_stops_it(tmp_path, story, tiny_bundle):
    master, terminal = os.openpty()
    command = [*RUN, "--source", f"scene:{story}", "--loop", "--bundle", str(tiny_bundle), "--view", "plain"]
    process = subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        next(line for line in process.stdout if "red" in line)  # it decides
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
        os.close(master)
        os.close(terminal)


def test_a_configuration_that_does_not_work_makes_way_for_the_one_before(tmp_path, story, tiny_bundle):
    bin_ = RunningBin(tmp_path, story)
    bin_.configure(tiny_bundle)
    with bin_.running() as process:
        until(lambda: bin_.states() == ["STARTING", "RUNNING"])
        bin_.configure(tiny_bundle, source="camera:97")
        process.send_signal(signal.SIGHUP)
        bin_.said("the new configuration does not work, back to the one before")
        until(lambda: bin_.states()[-3:] == ["STOPPING", "STARTING", "RUNNING"])
        assert process.poll() is None
        assert "STOPPING=1" not in bin_.heard()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
