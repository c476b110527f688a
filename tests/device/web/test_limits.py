"""What a stranger cannot do to the page's server: hold its connections, fill it, or keep it busy."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, closing

import pytest

from device.clock import ManualClock
from device.web import body, connection
from device.web.rate import RateLimit
from tests.device.broker import wait_until
from tests.device.web.stage import HOST, stage_bin, view
from tests.device.web.test_server import LONG_S, ask, serve

HEAD = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def served(staged):
    page = serve(staged)
    assert page.wait_until_listening(LONG_S)
    yield page
    page.close()


def dial(page, buffer: int | None = None) -> socket.socket:
    caller = socket.socket()
    if buffer is not None:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    caller.settimeout(LONG_S)
    caller.connect(("127.0.0.1", page.port))
    return caller


def is_over(caller: socket.socket) -> bool:
    """Whether the server has ended the connection, waiting for that."""
    try:
        while caller.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


def trickle(caller: socket.socket, data: bytes) -> None:
    """A byte now and then, as long as it is let."""
    for number in range(len(data)):
        caller.sendall(data[number : number + 1])
        time.sleep(0.05)


def test_who_says_nothing_or_speaks_ever_so_slowly_is_left(served, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    with closing(dial(served)) as mute, closing(dial(served)) as slow:
        begun_s = time.monotonic()
        slow.sendall(HEAD[:5])
        assert is_over(mute)
        with pytest.raises(ConnectionError):
            trickle(slow, HEAD[5:] + b"X: " + b"x" * 200)
        assert time.monotonic() - begun_s < LONG_S / 2


def test_the_rest_of_a_request_that_was_answered_already_gains_no_time(served, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    with closing(dial(served)) as caller:
        caller.sendall(b"POST /api/reload HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 60000\r\n\r\n")
        assert b" 421 " in caller.recv(4096)
        with pytest.raises(ConnectionError):
            trickle(caller, b"x" * 200)


def test_a_request_in_two_pieces_and_one_after_it_are_answered(served):
    with closing(dial(served)) as caller:
        for _ in range(2):
            caller.sendall(HEAD)
            time.sleep(0.05)
            caller.sendall(b"\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += caller.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK")
    assert ask(served.port, "/healthz")[0] == 200


def test_a_body_that_does_not_come_is_given_up(served, monkeypatch):
    monkeypatch.setattr(body, "_SILENT_S", 0.2)
    with closing(dial(served)) as caller:
        caller.sendall(
            b"PUT /api/samples/1/label HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 500\r\n\r\n{"
        )
        answer = caller.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()
        assert is_over(caller)


def test_a_viewer_that_reads_nothing_makes_room(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr(connection, "STUCK_S", 0.3)
    staged = stage_bin(tmp_path, tiny_bundle, keeps=False, page={"viewers": 1, "fps": 30, "quality": 95})
    page = serve(staged)
    page.wait_until_listening(LONG_S)
    with closing(dial(page, buffer=2048)) as viewer:
        viewer.sendall(b"GET /api/live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: staged.bin.feed.viewers == 1, "the viewer")
        numbers = iter(range(1_000_000))

        def gone() -> bool:
            staged.status.frame(view(next(numbers), 1, "JUDGING", "red"))
            return staged.bin.feed.viewers == 0

        wait_until(gone, "the end of who reads nothing", timeout_s=LONG_S)
    page.close()


def test_one_address_does_not_get_all_connections(served, monkeypatch):
    monkeypatch.setattr(connection, "MOST_OF_ONE", 4)
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(dial(served))) for _ in range(4)]
        wait_until(lambda: len(served._server.server_state.connections) == 4, "four connections")
        assert is_over(stack.enter_context(closing(dial(served))))
        callers[0].sendall(HEAD + b"\r\n")
        assert b" 200 " in callers[0].recv(4096)
        callers[1].close()
        wait_until(lambda: len(served._server.server_state.connections) == 3, "room")
        assert ask(served.port, "/healthz")[0] == 200


class TestRate:
    def test_a_burst_is_let_through_and_then_so_many_a_second(self):
        clock = ManualClock()
        rate = RateLimit(10, clock.now_s)
        assert [rate.wait_s("10.0.0.1") for _ in range(60)] == [0.0] * 60
        assert rate.wait_s("10.0.0.1") == pytest.approx(0.1)
        assert rate.wait_s("10.0.0.2") == 0, "another address"
        clock.advance(0.5)
        assert [rate.wait_s("10.0.0.1") > 0 for _ in range(6)] == [False] * 5 + [True]
        clock.advance(1000)
        assert sum(rate.wait_s("10.0.0.1") == 0 for _ in range(100)) == 60

    def test_it_can_be_switched_off_and_forgets(self):
        assert {RateLimit(0, ManualClock().now_s).wait_s("a") for _ in range(1000)} == {0.0}
        rate = RateLimit(1, ManualClock().now_s)
        for number in range(3000):
            rate.wait_s(f"10.0.{number // 250}.{number % 250}")
        assert len(rate._buckets) == 1024

    def test_whoever_asks_too_often_is_told_to_wait_but_health_is_always_answered(self, tmp_path, tiny_bundle):
        staged = stage_bin(tmp_path, tiny_bundle, keeps=False, page={"requests_per_s": 2})
        client = staged.client()
        codes = [client.get("/api/status").status_code for _ in range(14)]
        assert codes == [200] * 12 + [429] * 2
        refused = client.get("/api/status")
        assert (refused.headers["retry-after"], refused.headers["content-type"]) == ("1", "application/problem+json")
        assert client.get("/healthz").status_code == 200
        assert staged.client(client=("10.0.0.8", 1)).get("/api/status").status_code == 200
        staged.clock.advance(1)
        assert client.get(f"{HOST}/api/status").status_code == 200
