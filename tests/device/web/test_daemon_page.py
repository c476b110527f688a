"""The page of a real daemon, and what `smartbin run --page` says and does."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.device.broker import free_port, wait_until
from tests.device.web.conftest import proof_in

ROOT = Path(__file__).resolve().parents[3]
RUN = [sys.executable, str(ROOT / "device" / "run.py")]


def start(story, bundle, *more: str, page_port: str | None = "0") -> subprocess.Popen[str]:
    command = [*RUN, "--source", f"scene:{story}", "--bundle", str(bundle), "--loop", "--page", "--view", "off", *more]
    environment = {**os.environ, "PYTHONPATH": "", **({"SMARTBIN_PAGE__PORT": page_port} if page_port else {})}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", env=environment
    )


def address_of(process: subprocess.Popen[str]) -> str:
    for line in process.stderr:
        if found := re.search(r"http://[\w.:]+/", line):
            return found[0]
    pytest.fail("it did not say where its page is")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def test_a_daemon_with_a_page_decides_and_shows_it_and_stops_at_once(story, tiny_bundle):
    process = start(story, tiny_bundle)
    try:
        address = address_of(process)
        with urllib.request.urlopen(f"{address}api/live", timeout=20) as told:  # ends when something is decided
            next(line for line in told if line.startswith(b"data: ") and json.loads(line[6:])["answer"])
        assert json.loads(get(f"{address}readyz"))["ok"]
        assert "smartbin_frames_processed_total" in get(f"{address}metrics")
        origins = {setting["key"]: setting["origin"] for setting in json.loads(get(f"{address}api/config"))}
        assert (origins["page.port"], origins["page.enabled"], origins["page.fps"]) == (
            "environment",
            "command line",
            "default",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_does_not_keep_the_bin_from_sorting(story, tiny_bundle, tmp_path):
    events = tmp_path / "events.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [*RUN, "--source", f"scene:{story}", "--bundle", str(tiny_bundle), "--page", "--view", "off"]
        environment = {**os.environ, "SMARTBIN_PAGE__PORT": str(other.getsockname()[1]), "PYTHONPATH": ""}
        done = subprocess.run(
            [*command, "--json", str(events)], capture_output=True, text=True, timeout=60, check=False, env=environment
        )
    assert done.returncode == 0, done.stderr
    assert "the bin goes on without it" in done.stderr
    assert [line for line in events.read_text().splitlines() if '"decision"' in line]


def test_an_open_address_without_a_token_is_exit_code_2(story, tiny_bundle):
    environment = {**os.environ, "SMARTBIN_PAGE__HOST": "0.0.0.0", "PYTHONPATH": ""}
    done = subprocess.run(
        [*RUN, "--source", f"scene:{story}", "--bundle", str(tiny_bundle), "--page"],
        capture_output=True, text=True, timeout=60, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "token_file must be set" in done.stderr


def test_a_reload_keeps_who_has_signed_in(story, tiny_bundle, tmp_path):
    """Signed in with the form, then SIGHUP: the page that comes back knows its visitor; a refused one says why."""
    port, config, token = free_port(), tmp_path / "bin.toml", tmp_path / "token"
    token.write_text("a token that is long enough")
    token.chmod(0o600)
    config.write_text(f"[page]\nport = {port}\ntoken_file = '{token}'\n")
    process = start(story, tiny_bundle, "--config", str(config), page_port=None)
    visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def look(path: str, form: dict[str, str] | None = None) -> str:
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        with visitor.open(f"http://127.0.0.1:{port}{path}", body, timeout=20) as answer:
            return answer.read().decode()

    try:
        address_of(process)
        look("/login", {"proof": proof_in(look("/login")), "token": token.read_text()})
        assert "Sign out" in look("/settings")

        config.write_text(f"{config.read_text()}fps = 5\n")
        process.send_signal(signal.SIGHUP)
        address_of(process)  # the page has begun anew
        wait_until(lambda: answers(lambda: look("/settings")), "the page")
        assert re.search(r"fps</th><td[^>]*>5.0 ", look("/settings"))

        config.write_text("[page]\nprot = 1\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "unknown configuration key" in look("/settings"), "what was refused", timeout_s=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def answers(ask: Callable[[], str]) -> bool:
    """Whether the page is there: between two servers nobody is."""
    with suppress(OSError):
        return bool(ask())
    return False


HANGING_TEST = """
import sys, threading; sys.path.insert(0, sys.argv[1])
from device import run_command
run_command.test_here = lambda copy, config: threading.Event().wait()
from device.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_request_that_hangs_keeps_neither_the_loop_nor_the_process(story, tiny_bundle, tmp_path):
    """A self-test that never comes back; meanwhile the bin decides, and at SIGTERM it ends with 0."""
    shutil.copytree(tiny_bundle, tmp_path / "offered" / "tiny")
    config = tmp_path / "bin.toml"
    config.write_text(
        f"[page]\nport = 0\nbundles_from = '{tmp_path}/offered'\n[bundles]\nfolder = '{tmp_path}/installed'\n"
    )
    arguments = ["run", "--config", str(config), "--source", f"scene:{story}", "--loop", "--page", "--view", "off"]
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING_TEST, str(ROOT), *arguments, "--bundle", str(tiny_bundle)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    try:
        address = address_of(process)
        host, _, port = address.removeprefix("http://").strip("/").partition(":")
        asked = b'{"name": "tiny"}'
        with socket.create_connection((host, int(port)), 20) as caller:
            caller.sendall(
                b"POST /api/model/install HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(asked), asked)
            )
            with urllib.request.urlopen(f"{address}api/live", timeout=20) as told:
                next(line for line in told if line.startswith(b"data: ") and json.loads(line[6:])["answer"])
            second = http.client.HTTPConnection(host, int(port), timeout=20)
            second.request("POST", "/api/model/install", asked, {"content-type": "application/json"})
            with closing(second), second.getresponse() as answer:
                assert (answer.status, b"at the moment" in answer.read()) == (409, True)
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
    finally:
        process.kill()
        process.communicate()
