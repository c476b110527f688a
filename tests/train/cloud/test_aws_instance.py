"""The life of an instance, told by what it calls: the user data of the template, run with AWS and the system faked.

The scripts, bash and the metadata service's protocol are real; `fake_bin` stands in for the rest.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.train.cloud.machines import FAKE, terminate, terminate_often, vanish
from tools.embed_user_data import SCRIPT

BIN = Path(__file__).parent / "fake_bin"
CALLED_ONLY = ("dnf", "useradd", "chown", "shutdown", "cfn-signal", "amazon-cloudwatch-agent-ctl", "nvidia-smi")
LEAVES = "aws autoscaling terminate-instance-in-auto-scaling-group --region eu-central-1 --instance-id i-0123"
TAKEN_AWAY = "the spot instance is taken away"


class Metadata(ThreadingHTTPServer):
    """The instance metadata service, version 2: no answer without a token; the spot notice once `notice` says so."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.notice: Callable[[], bool] = lambda: False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/latest"


class _Answer(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        asked = self.path == "/latest/api/token" and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self._answer(200 if asked else 400, "secret")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "secret":
            self._answer(401, "")
        elif self.path == "/latest/meta-data/instance-id":
            self._answer(200, "i-0123")
        elif self.path == "/latest/meta-data/spot/instance-action" and self.server.notice():
            self._answer(200, '{"action": "terminate"}')
        else:
            self._answer(404, "")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Instance:
    """An instance with a disk of its own; the bucket is shared with others of the same `cloud` folder."""

    def __init__(
        self, cloud: Path, name: str, metadata: Metadata, flags: str, hours: float, source: str, copy_s: str
    ) -> None:
        self.disk = cloud / name
        self.disk.mkdir()
        self.metadata = metadata
        self.bucket = cloud / "s3" / "bucket"
        self.run = self.disk / "root" / "runs" / "lite0"
        deadline = datetime.now(tz=timezone.utc) + timedelta(hours=hours)
        settings = {
            "STACK": "bin",
            "REGION": "eu-central-1",
            "LOG_GROUP": "logs",
            "BUCKET": "bucket",
            "RUN_NAME": "lite0",
            "SOURCE": source,
            "COMMIT": "",
            "DATA": "garbage data/mine",
            "FLAGS": flags,
            "DEADLINE": f"{deadline:%Y-%m-%dT%H:%M:%S}",
        }
        header = "".join(f"{key}='{value}'\n" for key, value in settings.items())
        self.user_data = self.disk / "part-001"
        self.user_data.write_text(f"#!/bin/bash\n{header}{SCRIPT.read_text(encoding='utf-8')}", encoding="utf-8")
        for tool in CALLED_ONLY:
            (cloud / "bin").mkdir(exist_ok=True)
            (cloud / "bin" / tool).unlink(missing_ok=True)
            (cloud / "bin" / tool).symlink_to(BIN / "written_down")
        self.environment = os.environ | {
            "PATH": f"{BIN}:{cloud / 'bin'}:{os.environ['PATH']}",
            "FAKE": str(cloud),
            "REAL_PYTHON": sys.executable,
            "SMARTBIN_ROOT": str(self.disk / "root"),
            "SMARTBIN_LOG": str(self.disk / "log"),
            "SMARTBIN_IMDS": metadata.url,
            "SMARTBIN_POLL_S": "0.05",
            "SMARTBIN_LOG_S": "0",
            "SMARTBIN_COPY_S": copy_s,
        }

    def boot(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["/bin/bash", self.user_data], env=self.environment, cwd=self.disk)

    def live(self) -> int:
        """From boot to the end; the exit code of the unit."""
        with self.boot() as process:
            return process.wait(100)

    def has_done(self, epochs: int) -> bool:
        state = self.run / "checkpoint.pt"
        return state.exists() and state.read_text(encoding="ascii") == str(epochs)

    @property
    def copied_log(self) -> str:
        """What the bucket has of it, so far."""
        file = self.bucket / "logs" / "lite0" / "i-0123.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def log(self) -> str:
        return (self.disk / "log").read_text(encoding="utf-8")


class Cloud:
    """A bucket with the project's source, and the instances that come and go."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        self.folder = folder
        self.metadata = metadata
        bucket = folder / "s3" / "bucket"
        (bucket / "source").mkdir(parents=True)
        with tarfile.open(bucket / "source" / "smartbin.tar.gz", "w:gz") as archive:
            archive.add(REPOSITORY / "constraints.txt", "constraints.txt")
            archive.add(REPOSITORY / "train" / "cloud", "train/cloud")
            archive.add(FAKE, "train/run.py")
        (bucket / "data" / "mine" / "glass").mkdir(parents=True)
        (bucket / "data" / "mine" / "glass" / "1.jpg").write_bytes(b"a photo")

    def instance(
        self,
        name: str = "i1",
        flags: str = "--epochs 4",
        hours: float = 2,
        source: str = "source/smartbin.tar.gz",
        copy_s: str = "600",
    ) -> Instance:
        return Instance(self.folder, name, self.metadata, flags, hours, source, copy_s)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text(encoding="utf-8").splitlines()

    def called(self, words: str) -> list[str]:
        return [call for call in self.calls if call.startswith(words)]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Metadata() as metadata:
        yield Cloud(tmp_path, metadata)
        metadata.shutdown()


def test_finished_run_is_in_the_bucket_and_the_instance_has_left_its_group(cloud: Cloud) -> None:
    instance = cloud.instance()
    assert instance.live() == 0
    kept = instance.bucket / "runs" / "lite0"
    assert {"model.safetensors", "checkpoint.pt", ".finished"} <= {path.name for path in kept.iterdir()}
    assert (kept / "plots" / "curve.txt").exists()
    mine = instance.disk / "root" / "photos" / "data" / "mine"
    assert f"data = \"['garbage', '{mine}']\"" in (kept / "config.toml").read_text(encoding="ascii")
    assert (mine / "glass" / "1.jpg").exists()
    assert "the end: finished\n" in instance.copied_log

    [signalled] = cloud.called("cfn-signal")
    assert signalled.startswith("cfn-signal --exit-code 0 --reason training has begun --stack bin --resource Trainer")
    assert cloud.called("aws") == [f"{LEAVES} --should-decrement-desired-capacity"]
    [guard] = cloud.called("shutdown")
    minutes = int(re.fullmatch(r"shutdown -P \+(\d+)", guard)[1])
    assert 128 <= minutes <= 130  # two hours and ten minutes of grace
    assert "-m pip install --quiet --constraint constraints.txt .[train,data]" in cloud.calls
    [agent] = cloud.called("amazon-cloudwatch-agent-ctl")
    assert f"file:{instance.disk}/root/cloudwatch.json" in agent


def test_spot_instance_that_is_taken_away_is_followed_by_one_that_goes_on(cloud: Cloud) -> None:
    first = cloud.instance("first", "--epochs 4 --hold 3")
    cloud.metadata.notice = lambda: first.has_done(2)
    assert first.live() == 143, first.log
    assert f"{TAKEN_AWAY}; the state is saved" in first.copied_log
    assert cloud.called("aws") == []  # it stays in its group, which replaces it
    assert (first.bucket / "runs" / "lite0" / "checkpoint.pt").read_text(encoding="ascii") == "2"

    cloud.metadata.notice = lambda: False
    second = cloud.instance("second", "--epochs 4 --hold 3")
    assert second.live() == 0
    assert "begins after epoch 2" in second.log
    assert len(cloud.called(LEAVES)) == 1


@pytest.mark.parametrize("send", [terminate, terminate_often])
def test_machine_that_goes_down_saves_first(cloud: Cloud, send: Callable[[int], None]) -> None:
    """`sky` and users stop a group, AWS ends the instance: systemd sends SIGTERM to the unit's first process."""
    instance = cloud.instance(flags="--hold 3")
    seen = threading.Event()

    def watch() -> bool:
        if instance.has_done(2):
            seen.set()
        return False

    cloud.metadata.notice = watch
    with instance.boot() as process:
        assert seen.wait(60)
        send(process.pid)
        assert process.wait(60) == 143, instance.log
    assert "the instance is stopped; the state is saved" in instance.copied_log
    assert (instance.bucket / "runs" / "lite0" / "checkpoint.pt").read_text(encoding="ascii") == "2"
    assert cloud.called("aws") == []


def test_log_of_a_machine_that_is_lost_all_at_once_is_in_the_bucket(cloud: Cloud) -> None:
    instance = cloud.instance(flags="--hold 3", copy_s="0.05")
    seen = threading.Event()

    def watch() -> bool:
        if instance.has_done(2) and "epoch 2" in instance.copied_log:
            seen.set()
        return False

    cloud.metadata.notice = watch
    with instance.boot() as process:
        assert seen.wait(60)
        vanish(process.pid)
        assert process.wait(60) == -signal.SIGKILL


def test_deadline_saves_and_ends(cloud: Cloud) -> None:
    instance = cloud.instance(flags="--hold 3")

    def let_the_time_pass() -> bool:
        if instance.has_done(2):
            (cloud.folder / "later").touch()
        return False

    cloud.metadata.notice = let_the_time_pass
    assert instance.live() == 143
    assert "the end: the deadline has passed" in instance.log
    assert (instance.bucket / "runs" / "lite0" / "checkpoint.pt").read_text(encoding="ascii") == "2"
    assert len(cloud.called(LEAVES)) == 1


def test_instance_that_comes_after_the_deadline_does_nothing(cloud: Cloud) -> None:
    assert cloud.instance(hours=-1).live() == 1
    assert cloud.called("dnf") == []
    assert len(cloud.called(LEAVES)) == 1


def test_instance_without_a_gpu_tells_the_stack_and_ends(cloud: Cloud) -> None:
    (cloud.folder / "no-gpu").touch()
    assert cloud.instance().live() == 1
    [signalled] = cloud.called("cfn-signal")
    assert "--exit-code 1 --reason ended with code 1 before training began" in signalled
    assert len(cloud.called(LEAVES)) == 1


def test_training_that_fails_ends_the_instance(cloud: Cloud) -> None:
    instance = cloud.instance(flags="--fail 3")
    assert instance.live() == 3
    assert "the end: code 3" in instance.log
    assert len(cloud.called(LEAVES)) == 1
    assert not (instance.bucket / "runs" / "lite0" / ".finished").exists()


def test_instance_that_cannot_leave_its_group_shuts_down(cloud: Cloud) -> None:
    (cloud.folder / "aws-fails").touch()
    assert cloud.instance().live() == 0
    assert cloud.called("shutdown")[-1] == "shutdown -P now"


def test_source_can_be_a_git_repository(cloud: Cloud, tmp_path: Path) -> None:
    """`git` is written down as well: an https repository is not to be had here."""
    (cloud.folder / "bin").mkdir()
    (cloud.folder / "bin" / "git").symlink_to(BIN / "written_down")
    instance = cloud.instance(source="https://example.org/smartbin.git")
    assert instance.live() != 0  # nothing was fetched
    folder = instance.disk / "root" / "source"
    assert cloud.called("git") == [
        f"git -C {folder} init --quiet",
        f"git -C {folder} fetch --quiet --depth 1 https://example.org/smartbin.git HEAD",
        f"git -C {folder} checkout --quiet FETCH_HEAD",
    ]


def test_unit_gets_its_signal_alone_and_has_time() -> None:
    """systemd waits for this long; EC2 gives two minutes after the notice."""
    text = SCRIPT.read_text(encoding="utf-8")
    assert "--property=KillMode=mixed" in text
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) < 120
