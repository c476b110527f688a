"""The webhook against a real HTTP server on this machine: errors, refusals, slowness, signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from device.clock import SystemClock
from device.events import Event
from device.sinks.settings import WebhookSettings
from device.sinks.webhook_sink import _seconds, open_webhook
from smartbin.errors import ConfigError
from tests.device.broker import free_port, wait_until
from tests.device.test_sinks import NOW, SESSION, decision


class Server:
    """Answers with a script of (code, headers), then 204; remembers every request."""

    def __init__(self, port=0):
        self.script, self.requests = [], []
        self.gate = threading.Event()
        self.gate.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append((dict(self.headers), body))
                server.gate.wait(20)
                code, headers = server.script.pop(0) if server.script else (204, {})
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def items(self):
        return [json.loads(body)["item"] for _, body in self.requests]

    def close(self):
        self.gate.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    here = Server()
    yield here
    here.close()


@pytest.fixture
def open_sink():
    sinks = []

    def open_one(url, **changes):
        fields = {"enabled": True, "url": url, "first_s": 0.02, "cap_s": 0.05}
        sinks.append(open_webhook(WebhookSettings(**{**fields, **changes}), "kitchen", SystemClock()))
        sinks[-1].start(SESSION)
        return sinks[-1]

    yield open_one
    for sink in sinks:
        sink.close()


def item(number):
    return Event(NOW, "decision", decision=decision(item=number))


def test_a_decision_is_posted_with_its_id_and_signature(server, open_sink):
    sink = open_sink(server.url, secret="s3cret")
    event = item(7)
    sink.event(Event(NOW, "lifecycle", lifecycle="RUNNING"))
    sink.event(event)
    wait_until(lambda: sink.counts.sent == 1, "the event")
    ((headers, body),) = server.requests
    record = json.loads(body)
    assert (record["device"], record["item"], record["label"]) == ("kitchen", 7, "glass")
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Smartbin-Event"] == record["id"] == event.id
    signed = headers["X-Smartbin-Timestamp"].encode() + b"." + body
    expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert headers["X-Smartbin-Signature"] == f"sha256={expected}"


def test_without_a_secret_nothing_is_signed_and_all_is_all(server, open_sink):
    sink = open_sink(server.url, events="all")
    sink.event(Event(NOW, "lifecycle", lifecycle="CAMERA_LOST", reason="unplugged"))
    wait_until(lambda: sink.counts.sent == 1, "the event")
    ((headers, body),) = server.requests
    assert "X-Smartbin-Signature" not in headers
    assert json.loads(body)["state"] == "CAMERA_LOST"


def test_errors_of_the_server_are_tried_again_in_order(server, open_sink):
    server.script = [(500, {}), (503, {}), (429, {"Retry-After": "0"}), (200, {})]
    sink = open_sink(server.url)
    sink.event(item(1))
    sink.event(item(2))
    wait_until(lambda: sink.counts.sent == 2, "both")
    assert server.items() == [1, 1, 1, 1, 2]
    assert len({headers["X-Smartbin-Event"] for headers, _ in server.requests}) == 2
    assert (sink.counts.failures, sink.counts.dropped) == (3, 0)


@pytest.mark.parametrize(
    ("code", "headers", "said"),
    [(404, {}, "404"), (401, {}, "401"), (302, {"Location": "/other"}, "redirects are not followed")],
)
def test_what_the_server_will_never_take_is_dropped(server, open_sink, code, headers, said):
    server.script = [(code, headers)]
    sink = open_sink(server.url)
    sink.event(item(1))
    sink.event(item(2))
    wait_until(lambda: sink.counts.sent == 1, "the second")
    assert server.items() == [1, 2]
    assert sink.counts.dropped == 1
    assert said in sink.counts.last_error


def test_a_server_that_comes_back_gets_what_it_missed(open_sink):
    port = free_port()
    sink = open_sink(f"http://127.0.0.1:{port}/", attempts=1000)
    for number in range(1, 6):
        sink.event(item(number))
    wait_until(lambda: sink.counts.failures >= 3, "refused connections")
    assert "refused" in sink.counts.last_error
    server = Server(port)
    try:
        wait_until(lambda: sink.counts.sent == 5, "all")
        assert server.items() == [1, 2, 3, 4, 5]
    finally:
        server.close()


def test_a_slow_server_runs_into_the_time_limit_and_holds_nobody(server, open_sink):
    server.gate.clear()
    sink = open_sink(server.url, timeout_s=0.1, queue=2, attempts=1000)
    for number in range(1, 6):
        sink.event(item(number))
    wait_until(lambda: sink.counts.failures >= 2, "time-outs")
    assert "timed out" in sink.counts.last_error
    assert sink.counts.dropped == 3
    server.gate.set()
    wait_until(lambda: sink.counts.sent == 2, "the newest")
    assert server.items()[-1] == 5


def test_what_is_no_http_is_tried_again(open_sink):
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        for _ in range(2):
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-nonsense\r\n\r\n")
            connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    sink = open_sink(f"http://127.0.0.1:{listener.getsockname()[1]}/", attempts=2)
    sink.event(item(1))
    wait_until(lambda: sink.counts.dropped == 1, "two failures")
    thread.join()
    listener.close()
    assert sink.counts.failures == 2


def test_a_secret_of_a_file(tmp_path, server, open_sink):
    (tmp_path / "secret").write_text("s3cret\n")
    sink = open_sink(server.url, secret_file=tmp_path / "secret")
    sink.event(item(1))
    wait_until(lambda: sink.counts.sent == 1, "the event")
    assert server.requests[0][0]["X-Smartbin-Signature"].startswith("sha256=")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="a secret's file is empty"):
        open_sink(server.url, secret_file=tmp_path / "empty")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("12", 12), ("-3", 0), ("soon", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("nan", 0)],
)
def test_retry_after(header, seconds):
    assert _seconds(header) == seconds
