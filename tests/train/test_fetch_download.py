"""Servers that cut, stall, refuse, change or lie: each ends in the whole file, or in an error that says what to do."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from smartbin.errors import DataError
from tests.train.fetching import Fault, Site, trashnet_zip
from train.fetching import download as download_module
from train.fetching.download import Patience, Remote, download

Fetch = Callable[..., str]
_ARCHIVE = trashnet_zip()
_HALF = len(_ARCHIVE) // 2
_HASH = hashlib.sha256(_ARCHIVE).hexdigest()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which take no time here."""
    waited: list[float] = []
    monkeypatch.setattr(download_module, "_wait", waited.append)
    return waited


def kept(data: Path) -> int:
    """Bytes that a failed fetch has kept."""
    return sum(path.stat().st_size for path in (data / ".downloads").glob("*.part"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_cut_download_is_continued_by_the_next_call(fetch: Fetch, site: Site, data: Path) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF))
    error = fetch("garbage", "--url", url, code=1)
    assert "the connection ended" in error
    assert "run the same command again; it continues after" in error
    assert kept(data) == _HALF
    fetch("garbage", "--url", url)
    assert site.ranges == ["", f"bytes={_HALF}-"]
    assert [path.name for path in data.iterdir()] == ["garbage"]


def test_cut_download_is_continued_by_the_next_try(fetch: Fetch, site: Site, waits: list[float]) -> None:
    cuts = [Fault(sent=1000), Fault(sent=2000), Fault(sent=0)]
    printed = fetch("garbage", "--url", site.put("a.zip", _ARCHIVE, *cuts), "--attempts", "4")
    assert site.ranges == ["", "bytes=1000-", "bytes=3000-", "bytes=3000-"]
    assert waits == [1, 2, 4]
    assert "trying again in 2 s (3 of 4)" in printed


def test_tries_come_to_an_end(fetch: Fetch, site: Site, waits: list[float]) -> None:
    url = site.put("a.zip", _ARCHIVE, *[Fault(sent=10)] * 9)
    assert "failed 3 times" in fetch("garbage", "--url", url, "--attempts", "3", code=1)
    assert len(site.requests) == 3
    assert len(waits) == 2


def test_stalled_server(fetch: Fetch, site: Site, data: Path) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF, silent=True))
    error = fetch("garbage", "--url", url, "--timeout", "0.2", code=1)
    assert "the server has stopped sending" in error
    assert "it continues after" in error
    assert kept(data) == _HALF
    fetch("garbage", "--url", url)
    assert site.ranges == ["", f"bytes={_HALF}-"]


def test_server_that_never_answers(fetch: Fetch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.zip"
        error = fetch("garbage", "--url", url, "--timeout", "0.2", code=1)
    assert "the server has stopped sending" in error
    assert not (tmp_path / "data").exists()


def test_refused_connection(fetch: Fetch, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    error = fetch("garbage", "--url", f"http://127.0.0.1:{port}/a.zip", code=1)
    assert "the connection is refused" in error
    assert "run the same command again" in error
    assert not data.exists()


def test_host_without_a_name(fetch: Fetch, data: Path) -> None:
    error = fetch("garbage", "--url", "http://nowhere.invalid/a.zip", code=1)
    assert "the name of the host cannot be resolved" in error
    assert "check the network" in error
    assert "or give a file that you got by hand: --file FILE" in error
    assert not data.exists()


def test_server_without_tls(fetch: Fetch, site: Site, data: Path) -> None:
    error = fetch("garbage", "--url", site.put("a.zip", _ARCHIVE).replace("http:", "https:"), "--attempts", "3", code=1)
    assert "no secure connection" in error
    assert not data.exists()


def test_address_that_is_none(fetch: Fetch) -> None:
    assert "the address cannot be used" in fetch("garbage", "--url", "http://[/a.zip", code=1)


def test_missing_file(fetch: Fetch, site: Site, data: Path) -> None:
    error = fetch("garbage", "--url", f"{site.address}/none.zip", "--attempts", "5", code=1)
    assert "404" in error
    assert "--file FILE" in error
    assert len(site.requests) == 1  # no further try would mend it
    assert not data.exists()


def test_busy_server_is_asked_again_when_it_says(fetch: Fetch, site: Site, waits: list[float]) -> None:
    busy = Fault(status=503, headers={"Retry-After": "7"})
    fetch("garbage", "--url", site.put("a.zip", _ARCHIVE, busy, Fault(status=500)), "--attempts", "3")
    assert waits == [7, 2]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<!DOCTYPE html>\n<p>Please log in", "text/html, which begins with '<!DOCTYPE html>'"),
        (b"no", "text/html, which begins with 'no'"),
        (b"", "an empty file"),
    ],
)
def test_page_instead_of_an_archive(fetch: Fetch, site: Site, data: Path, body: bytes, found: str) -> None:
    error = fetch("garbage", "--url", site.put("a.zip", body, content_type="text/html"), code=1)
    assert "the server sends something else than the file" in error
    assert found in error
    assert not data.exists()


def test_server_that_gives_a_piece_at_a_time(fetch: Fetch, site: Site, data: Path, waits: list[float]) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF), piece=(len(_ARCHIVE) - _HALF + 1) // 2)
    assert "the connection ended after" in fetch("garbage", "--url", url, "--attempts", "2", code=1)
    assert _HALF < kept(data) < len(_ARCHIVE)
    fetch("garbage", "--url", url)
    assert len(site.requests) == 3


def test_server_without_ranges_starts_over(fetch: Fetch, site: Site) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF), ranges=False)
    fetch("garbage", "--url", url, code=1)
    assert "begins the file anew: it cannot continue one" in fetch("garbage", "--url", url)
    assert site.ranges == ["", f"bytes={_HALF}-"]


def test_server_without_ranges_is_not_said_to_continue(fetch: Fetch, site: Site, data: Path) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF), Fault(sent=_HALF), ranges=False)
    fetch("garbage", "--url", url, code=1)
    error = fetch("garbage", "--url", url, code=1)
    assert "it continues after" not in error
    assert "run the same command again; this server begins anew each time" in error
    fetch("garbage", "--url", url)


@pytest.mark.parametrize("obedient", [True, False], ids=["heeds If-Range", "ignores If-Range"])
def test_file_that_changed_between_tries_is_not_spliced(
    fetch: Fetch, site: Site, waits: list[float], obedient: bool
) -> None:
    old = _ARCHIVE[:4] + bytes(len(_ARCHIVE) - 4)  # of the same size
    url = site.put("a.zip", old, Fault(sent=_HALF))
    fetch("garbage", "--url", url, code=1)
    site.put("a.zip", _ARCHIVE, etag='"two"', if_range=obedient)
    fetch("garbage", "--url", url, "--attempts", "2", "--sha256", _HASH)
    assert site.ranges == ["", f"bytes={_HALF}-", *([] if obedient else [""])]


def test_file_that_shrank_between_tries(fetch: Fetch, site: Site, waits: list[float]) -> None:
    url = site.put("a.zip", _ARCHIVE + bytes(5000), Fault(sent=len(_ARCHIVE) + 4000))
    fetch("garbage", "--url", url, code=1)
    site.put("a.zip", _ARCHIVE, etag='"two"', if_range=False)
    fetch("garbage", "--url", url, "--attempts", "2")
    assert site.ranges == ["", f"bytes={len(_ARCHIVE) + 4000}-", ""]


@pytest.mark.parametrize(
    ("etag", "date", "continued"),
    [
        ('"strong"', "", True),
        ("", "Mon, 05 Jan 2026 10:00:00 GMT", True),
        ('W/"weak"', "Mon, 05 Jan 2026 10:00:00 GMT", True),
        ('W/"weak"', "", False),
        ("", "", False),
    ],
)
def test_only_a_part_that_can_be_told_is_continued(
    fetch: Fetch, site: Site, etag: str, date: str, continued: bool
) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF), etag=etag, last_modified=date)
    error = fetch("garbage", "--url", url, code=1)
    assert ("it continues after" in error) == continued
    fetch("garbage", "--url", url)
    assert site.ranges == ["", f"bytes={_HALF}-" if continued else ""]


def test_part_without_etag_is_continued_where_the_hash_is_known(fetch: Fetch, site: Site) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF), etag="")
    fetch("garbage", "--url", url, "--sha256", _HASH, code=1)
    fetch("garbage", "--url", url, "--sha256", _HASH)
    assert site.ranges == ["", f"bytes={_HALF}-"]


def test_another_address_does_not_continue_this_part(fetch: Fetch, site: Site, data: Path) -> None:
    fetch("garbage", "--url", site.put("a.zip", _ARCHIVE, Fault(sent=_HALF)), code=1)
    fetch("garbage", "--url", site.put("b.zip", _ARCHIVE))
    assert site.requests[-1] == ("/b.zip", "")
    assert [path.name for path in data.iterdir()] == ["garbage"]  # and no part is left of the first


def test_damaged_notes_begin_anew(fetch: Fetch, site: Site, data: Path) -> None:
    url = site.put("a.zip", _ARCHIVE, Fault(sent=_HALF))
    fetch("garbage", "--url", url, code=1)
    next((data / ".downloads").glob("*.json")).write_text("{")
    fetch("garbage", "--url", url)
    assert site.ranges == ["", ""]


def test_server_that_does_not_say_the_length(fetch: Fetch, site: Site) -> None:
    fetch("garbage", "--url", site.put("a.zip", _ARCHIVE, length=False))


@pytest.fixture
def remote(site: Site) -> Remote:
    return Remote(site.put("a.zip", _ARCHIVE), (b"PK",), "a zip file", most_bytes=10**9)


def test_other_size_than_recorded(site: Site, remote: Remote, tmp_path: Path) -> None:
    wrong = Remote(remote.url, remote.starts, "a zip file", 10**9, size=len(_ARCHIVE) + 1)
    with pytest.raises(DataError, match="another size") as caught:
        download(wrong, tmp_path / "a", Patience())
    assert caught.value.found == f"{len(_ARCHIVE):,} bytes"
    assert list(tmp_path.iterdir()) == []


def test_file_without_end_is_given_up(site: Site, tmp_path: Path) -> None:
    endless = Remote(site.put("b.zip", _ARCHIVE, length=False), (b"PK",), "a zip file", most_bytes=1000)
    with pytest.raises(DataError, match="too large"):
        download(endless, tmp_path / "a", Patience())
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_to(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.fetching.download.begin", full)
    with pytest.raises(DataError, match="cannot write") as caught:
        download(remote, tmp_path / "a", Patience())
    assert caught.value.found == "No space left on device"


def test_progress_on_a_terminal_and_in_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from train import console

    monkeypatch.setattr(console, "_LINE_EVERY_S", 0.0)
    with console.byte_progress("downloading", 42_834_870, 1_000_000) as advance:
        advance(2_000_000, "")
    with console.byte_progress("downloading", None) as advance:
        advance(2_000, "")
    assert capsys.readouterr().out.splitlines() == ["downloading: 3.0 MB/42.8 MB", "downloading: 2.0 kB/?"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with console.byte_progress("downloading", 42_834_870, 40_000_000) as advance:
        advance(2_834_870, "")
    assert re.search(r"42\.8/42\.8.* MB", capsys.readouterr().out)
