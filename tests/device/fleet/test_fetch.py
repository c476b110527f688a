from __future__ import annotations

import hashlib
import threading
from http.server import SimpleHTTPRequestHandler
from types import SimpleNamespace

import pytest

from device.fleet.fetch import FetchLimits, fetch
from device.fleet.messages import check_url, shown_url
from smartbin.errors import BundleError, ConfigError
from tests.device.fleet.stage import QuietHandler, web_server

CONTENT = bytes(range(256)) * 1200
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LIMITS = FetchLimits(size_bytes=1_000_000, silent_s=5.0, whole_s=30.0)


class SlowHandler(QuietHandler):
    """Sends the first half, and the second one when it is told to go on."""

    go_on = threading.Event()

    def copyfile(self, source, outputfile) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2])
        outputfile.flush()
        self.go_on.wait(10)
        outputfile.write(content[len(content) // 2 :])


class StrangeHandler(QuietHandler):
    def do_GET(self) -> None:  # noqa: N802 - the library's name
        kind = self.path.strip("/")
        if kind.startswith("to:"):
            self.send_response(302)
            self.send_header("Location", kind.removeprefix("to:"))
            self.end_headers()
        elif kind == "circle":
            self.send_response(302)
            self.send_header("Location", f"/{kind}")
            self.end_headers()
        elif kind == "short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"less")
        elif kind == "endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(CONTENT)
        else:
            super().do_GET()


def get(url, tmp_path, *, sha256=SHA256, limits=LIMITS, stop=None):
    told = []
    fetch(url, sha256, tmp_path / "got", limits, stop or threading.Event(), told.append)
    return told


@pytest.fixture
def www(tmp_path):
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    return folder


def test_a_file_and_how_far_it_is(www, tmp_path):
    with web_server(www) as url:
        told = get(f"{url}/file", tmp_path)
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert told[-1] == "0.3 of 0.3 MB"
    assert 2 <= len(told) <= 10


def test_a_redirect_is_followed(www, tmp_path):
    with web_server(www, StrangeHandler) as url:
        get(f"{url}/to:/file", tmp_path)
    assert (tmp_path / "got").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none", "404"),
        ("short", "ends after 4 of 1000 bytes"),
        ("endless", "too large"),
        ("circle", "302"),
        ("to:file:///etc/passwd", "is not allowed"),
        ("to:ftp://127.0.0.1/x", "http:// and https:// only"),
    ],
)
def test_what_a_server_may_do_wrong(www, tmp_path, path, said):
    with web_server(www, StrangeHandler) as url, pytest.raises(BundleError) as caught:
        get(f"{url}/{path}", tmp_path)
    assert said in str(caught.value)


def test_a_server_that_says_nothing(www, tmp_path):
    class Mute(SimpleHTTPRequestHandler):
        over = threading.Event()

        def do_GET(self) -> None:
            self.over.wait(10)

    with web_server(www, Mute) as url:
        with pytest.raises(BundleError, match="cannot be fetched") as caught:
            get(f"{url}/file", tmp_path, limits=FetchLimits(1000, 0.2, 30.0))
        Mute.over.set()
    assert "timed out" in str(caught.value)


def test_too_large_by_its_own_word(www, tmp_path):
    with web_server(www) as url, pytest.raises(BundleError, match="too large"):
        get(f"{url}/file", tmp_path, limits=FetchLimits(1000, 5.0, 30.0))
    assert not (tmp_path / "got").exists()


def test_a_disk_that_is_nearly_full(www, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2 * len(CONTENT)))
    with web_server(www) as url, pytest.raises(BundleError, match="too little free disk"):
        get(f"{url}/file", tmp_path)
    assert not (tmp_path / "got").exists()


def test_another_file_than_announced(www, tmp_path):
    with web_server(www) as url, pytest.raises(BundleError, match="not what was announced"):
        get(f"{url}/file", tmp_path, sha256="0" * 64)


def test_a_whole_that_takes_too_long(www, tmp_path):
    with web_server(www) as url, pytest.raises(BundleError, match="cannot be fetched") as caught:
        get(f"{url}/file", tmp_path, limits=FetchLimits(1_000_000, 5.0, 0.0))
    assert "not finished after 0 s" in str(caught.value)


def test_a_bin_that_is_stopped(www, tmp_path):
    stop = threading.Event()
    stop.set()
    with web_server(www) as url, pytest.raises(BundleError) as caught:
        get(f"{url}/file", tmp_path, stop=stop)
    assert "being stopped" in str(caught.value)


def test_certificates_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot use the certificates"):
        get("https://127.0.0.1/x", tmp_path, limits=FetchLimits(1, 1.0, 1.0, tmp_path / "none.pem"))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a/b", "models.lan/x.tar", "https://", "https://me:pw@a/b", "http://a/b\r\nX: y", ""],
)
def test_urls_that_a_bin_does_not_fetch(url):
    with pytest.raises(ValueError, match=r"fetches|password|spaces"):
        check_url(url)


def test_a_secret_in_the_query_is_not_shown():
    assert shown_url("https://a.lan:8443/b.tar?signature=secret") == "https://a.lan:8443/b.tar"
