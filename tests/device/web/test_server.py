"""The server's thread on real ports of this machine."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import threading
import time
import weakref
from contextlib import closing

import pytest

from device.web import context, server
from device.web.app import make_guarded
from device.web.context import make_bin
from device.web.memory import PageMemory
from device.web.opening import open_page
from device.web.parts import PageParts
from device.web.server import PageServer, Served
from smartbin.bundle import read_bundle
from smartbin.errors import ConfigError
from tests.device.web.stage import StagedBin, blank, stage_bin, view

LONG_S = 20.0


def serve(staged: StagedBin, port: int = 0, host: str = "127.0.0.1") -> PageServer:
    page = PageServer(host, port, lambda: Served(staged.app, staged.bin.feed.close))
    page.start()
    return page


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(host, port, timeout=LONG_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        with answer:
            return answer.status, answer.read()


def test_it_serves_until_it_is_closed(staged, capsys):
    page = serve(staged)
    assert page.wait_until_listening(LONG_S)
    assert ask(page.port, "/healthz") == (200, b'{"ok":true,"trouble":[]}')
    assert f"the bin's page: http://127.0.0.1:{page.port}/" in capsys.readouterr().err
    page.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", page.port), 1)


def test_a_port_in_use_is_said_once_and_taken_when_it_is_free(staged, monkeypatch, caplog):
    monkeypatch.setattr(server, "_AGAIN_S", 0.05)
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    page = serve(staged, port)
    assert not page.wait_until_listening(0.3)
    other.close()
    assert page.wait_until_listening(LONG_S)
    assert ask(port, "/healthz")[0] == 200
    page.close()
    assert caplog.text.count("the bin goes on without it and tries again") == 1


def test_live_pictures_over_a_real_connection_end_with_the_page(staged):
    page = serve(staged)
    page.wait_until_listening(LONG_S)
    with closing(http.client.HTTPConnection("127.0.0.1", page.port, timeout=LONG_S)) as connection:
        connection.request("GET", "/api/live.mjpg")
        with connection.getresponse() as answer:
            assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=smartbin-picture"
            assert answer.read1().startswith(b"--smartbin-picture")
            assert staged.bin.feed.viewers == 1
            begun_s = time.monotonic()
            page.close()
    assert time.monotonic() - begun_s < server._STOP_S + 1
    assert not page._thread.is_alive()


def test_each_change_of_the_status_is_told_once_as_an_event(staged):
    page = serve(staged)
    page.wait_until_listening(LONG_S)
    with closing(http.client.HTTPConnection("127.0.0.1", page.port, timeout=LONG_S)) as connection:
        connection.request("GET", "/api/live")
        with connection.getresponse() as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            first = json.loads(answer.readline().removeprefix(b"data: "))
            assert answer.readline() == b"\n"
            staged.status.frame(blank(view(50), 90))
            second = json.loads(answer.readline().removeprefix(b"data: "))
            assert (first["frame"], second["frame"]) == (21, 51)
            page.close()
            assert answer.read() == b"\n", "the page ends its streams"


def test_a_viewer_that_goes_away_makes_room(tmp_path, tiny_bundle):
    staged = stage_bin(tmp_path, tiny_bundle, keeps=False, page={"viewers": 1})
    page = serve(staged)
    page.wait_until_listening(LONG_S)
    first = socket.create_connection(("127.0.0.1", page.port), LONG_S)
    first.sendall(b"GET /api/live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in first.recv(4096)
    assert ask(page.port, "/api/live.mjpg")[0] == 503
    first.close()
    free = threading.Event()
    for number in range(200):  # the server notices at the next picture
        staged.status.frame(view(number))
        if free.wait(0.05) or staged.bin.feed.viewers == 0:
            break
    assert staged.bin.feed.viewers == 0
    page.close()


def test_headers_without_end_are_refused(staged):
    page = serve(staged)
    page.wait_until_listening(LONG_S)
    with socket.create_connection(("127.0.0.1", page.port), LONG_S) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000)
        assert b" 400 " in caller.recv(4096)
    page.close()


def test_an_ipv6_address(staged):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    page = serve(staged, host="::1")
    assert page.wait_until_listening(LONG_S)
    assert ask(page.port, "/healthz", "::1")[0] == 200
    page.close()


def test_a_missing_library_is_a_configuration_error_that_says_what_to_install(staged, monkeypatch):
    monkeypatch.setattr("device.web.opening._LIBRARIES", ("no_such_library",))
    with pytest.raises(ConfigError, match="libraries") as caught:
        open_page(parts_of(staged))
    assert "pip install 'smartbin[page]'" in str(caught.value)


def test_a_token_that_cannot_be_read_is_a_configuration_error(tmp_path, tiny_bundle):
    staged = stage_bin(tmp_path, tiny_bundle, keeps=False, page={"token_file": tmp_path / "absent"})
    with pytest.raises(ConfigError, match="token"):
        open_page(parts_of(staged))


def test_of_a_page_that_has_ended_nothing_stays(staged, monkeypatch):
    """FastAPI remembers the routes of every application: what they hold would pile up with every reload."""
    feeds, make = [], context.make_bin

    def watched(parts, token):
        bin_ = make(parts, token)
        feeds.append(weakref.ref(bin_.feed))
        return bin_

    monkeypatch.setattr(context, "make_bin", watched)
    page = open_page(parts_of(staged))
    assert page.wait_until_listening(LONG_S)
    assert ask(page.port, "/metrics")[0] == 200
    assert page.close()
    del page
    gc.collect()
    assert [feed() for feed in feeds] == [None]


def test_an_application_that_cannot_be_made_is_no_running_page():
    def broken():
        raise RuntimeError("no application")

    with pytest.raises(RuntimeError, match="no application"):
        PageServer("127.0.0.1", 0, broken).start()


def test_the_parts_of_the_daemon_make_a_guarded_page(staged):
    assert make_guarded(make_bin(parts_of(staged), None)) is not None


def parts_of(staged: StagedBin) -> PageParts:
    bundle = read_bundle(staged.bin.shelf.running.path)
    return PageParts(
        "bin-7",
        staged.settings.model_copy(update={"page": staged.settings.page.model_copy(update={"port": 0})}),
        {},
        staged.status,
        bundle,
        lambda copy: None,
        staged.clock,
        print,
        keeps=False,
        reloader=staged.reloader,
        memory=PageMemory(staged.clock.now_s),
    )
