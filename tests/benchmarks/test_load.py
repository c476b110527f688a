"""The daemon with broker, page and viewer: short rows of the real thing, and the viewer by itself."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.load_scenario import SERVED, LoadOptions, run_load
from benchmarks.local_broker import local_broker, mosquitto
from benchmarks.page_viewer import look
from smartbin.errors import InferenceError
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_run import draw_coloured_photos


def test_a_short_row_with_all_that_there_is(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    if mosquitto() is None:
        pytest.skip("no mosquitto here (apt-get install mosquitto)")
    bundle = write_tiny_bundle(tmp_path / "tiny").path
    photos = tmp_path / "photos"
    draw_coloured_photos(photos, {"val": 2})
    options = LoadOptions(bundle, "onnxruntime-cpu", 1, photos, None, seconds=2.0, rounds=1, settle_s=1.0)
    table = run_load(options, ["every_frame"], [SERVED[-1]])
    (row,) = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (row["row"], row["beside"]) == ("every frame", "page, open, and MQTT")
    assert row["n"] == row["frames"] > 10, "every frame is decided"
    assert row["n"] + row["dropped"] < 70, "nothing of what goes before is counted"
    assert 0 < row["p50 ms"] < 500, "older ones are refused"
    assert row["CPU %"] > 0
    assert row["memory MB"] > 0
    assert row["pictures/s"] > 0, "somebody has looked"
    assert row["unsent"] == 0, "the broker has them all"


def test_without_a_broker_its_rows_are_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.load_scenario.mosquitto", lambda: None)
    options = LoadOptions(tmp_path, "onnxruntime-cpu", 1, None, None, seconds=1.0)
    table = run_load(options, all_served=[served for served in SERVED if served.mqtt])
    assert table.rows == ()
    assert table.notes[-1] == "no rows with MQTT: mosquitto is not installed."


def test_a_broker_that_does_not_start_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "mosquitto"
    broken.write_text("#!/bin/sh\necho 'it has no port'\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(InferenceError, match="did not start") as caught, local_broker(str(broken), tmp_path):
        pass
    assert caught.value.found == "it has no port"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"hello"
        if self.path == "/api/live":
            body = b"data: {}\n\n" * 3
        elif self.path == "/api/live.mjpg":
            body = b"--x\r\n" + 4 * (b"Content-Type: image/jpeg\r\n\r\n" + b"\xff" * 20_000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (self.path == "/api/live")))  # this one is cut off
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to stderr."""


def test_a_viewer_counts_pictures_and_states_until_the_streams_end() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = look(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert (seen.pictures, seen.states) == (4, 3)
