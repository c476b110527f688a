"""A bundle that is sent to the page."""

from __future__ import annotations

import socket
from contextlib import closing
from types import SimpleNamespace

import pytest

from device.web.body import MOST_BODY
from smartbin.bundle import read_bundle
from smartbin.bundle_store import INCOMING
from smartbin.errors import BundleError
from tests.device.broker import wait_until
from tests.device.fleet.stage import Foundry
from tests.device.web.conftest import proof_in
from tests.device.web.stage import HOST, TOKEN, stage_bin
from tests.device.web.test_server import LONG_S, serve

PATH = "/api/model/upload"
TAR = {"content-type": "application/x-tar"}


@pytest.fixture
def foundry(tmp_path) -> Foundry:
    (folder := tmp_path / "foundry").mkdir()
    return Foundry(folder)


@pytest.fixture
def make(tmp_path, tiny_bundle, foundry):
    """A staged bin that takes what the foundry has signed."""

    def make_bin(**options):
        bundles = {"public_key": foundry.public_key}
        return stage_bin(tmp_path / "bin", tiny_bundle, keeps=False, bundles=bundles, **options)

    return make_bin


def left(staged) -> list:
    """What is left of bundles that arrived."""
    return list(staged.settings.bundles.store.root.glob(f"{INCOMING}*"))


def test_a_signed_bundle_is_installed_and_taken(make, foundry):
    staged = make(test=lambda copy: SimpleNamespace(photos=2))
    archive, _ = foundry.archive("5")
    assert archive.stat().st_size < MOST_BODY  # a tiny one; that larger ones come through is another test
    done = staged.client().post(PATH, content=archive.read_bytes(), headers=TAR)
    assert done.status_code == 200, done.text
    assert "tiny 5 (mean-colour, fp32) is installed; its self-test passed on 2 golden inputs" in done.json()["told"]
    assert read_bundle(staged.settings.bundles.store.current).manifest.version == "5"
    assert (staged.reloader.asked, left(staged)) == (1, [])


@pytest.mark.parametrize("how", ["unsigned", "another key", "no archive", "empty"])
def test_what_is_not_signed_or_no_bundle_changes_nothing(make, foundry, tmp_path, how):
    staged = make()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    content = {
        "unsigned": foundry.archive("6", sign=False)[0].read_bytes(),
        "another key": Foundry(elsewhere).archive("6")[0].read_bytes(),
        "no archive": b"PK" * 2000,
        "empty": b"",
    }[how]
    answer = staged.client().post(PATH, content=content, headers={**TAR, "content-length": str(len(content))})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json"), answer.text
    assert str(tmp_path) not in answer.text
    assert (staged.settings.bundles.store.current, staged.reloader.asked, left(staged)) == (None, 0, [])


def test_a_failed_self_test_changes_nothing(make, foundry):
    def fails(copy):
        raise BundleError("the bundle fails its self-test", found="another answer")

    staged = make(test=fails)
    answer = staged.client().post(PATH, content=foundry.archive("7")[0].read_bytes(), headers=TAR)
    assert (answer.status_code, answer.json()["detail"]) == (409, "the bundle fails its self-test: another answer")
    assert (staged.settings.bundles.store.current, left(staged)) == (None, [])


def test_without_a_public_key_or_with_zero_megabytes_none_is_taken(tmp_path, tiny_bundle, make):
    for staged in (stage_bin(tmp_path / "open", tiny_bundle, keeps=False), make(page={"upload_mb": 0})):
        answer = staged.client().post(PATH, content=b"x" * 100, headers=TAR)
        assert (answer.status_code, "public_key" in answer.json()["detail"]) == (409, True)
        assert staged.client().post(PATH, content=b"x" * (MOST_BODY + 1), headers=TAR).status_code == 413
        assert "data-upload" not in staged.client().get("/model").text


def test_it_is_as_large_as_it_may_be_and_says_how_large_it_is(make):
    staged = make(page={"upload_mb": 1})
    client = staged.client()
    assert client.post(PATH, content=b"x" * 1_000_001, headers=TAR).status_code == 413
    assert (
        client.post(PATH, content=b"x" * 999_999, headers=TAR).status_code == 409
    )  # it came through, and is no archive
    assert client.post(PATH, content=iter([b"x" * 10]), headers=TAR).status_code == 411
    assert client.put("/api/samples/1/label", content=b"x" * 999_999).status_code == 413, "only this path may have more"
    assert left(staged) == []


def test_a_disk_without_room_is_said_before_anything_is_written(make, monkeypatch):
    staged = make()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2500))
    answer = staged.client().post(PATH, content=b"x" * 1000, headers=TAR)
    assert (answer.status_code, "too little free disk" in answer.json()["detail"]) == (409, True)


def test_one_change_at_a_time(make):
    staged = make()
    with staged.bin.shelf.changing():
        answer = staged.client().post(PATH, content=b"x" * 1000, headers=TAR)
    assert (answer.status_code, "at the moment" in answer.json()["detail"]) == (409, True)


def test_only_who_has_signed_in_with_the_proof_of_the_page(make, foundry):
    locked = make(token=TOKEN)
    content = foundry.archive("8")[0].read_bytes()
    client = locked.client()
    assert client.post(PATH, content=content, headers=TAR).status_code == 401
    client.post("/login", data={"proof": proof_in(client.get("/login").text), "token": TOKEN})
    page = client.get("/model").text
    assert 'data-upload="/api/model/upload"' in page
    own = {**TAR, "origin": HOST, "sec-fetch-site": "same-origin"}
    assert client.post(PATH, content=content, headers=own).status_code == 403
    assert client.post(PATH, content=content, headers={**own, "x-csrf-token": proof_in(page)}).status_code == 200


def test_one_that_ends_in_the_middle_leaves_nothing(make, caplog):
    staged = make()
    page = serve(staged)
    page.wait_until_listening(LONG_S)
    with closing(socket.create_connection(("127.0.0.1", page.port), LONG_S)) as caller:
        caller.sendall(
            b"POST /api/model/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n" + b"x" * 100_000
        )
        wait_until(lambda: left(staged), "the beginning of it")
    wait_until(lambda: not left(staged), "its end")
    wait_until(lambda: not staged.bin.shelf._changing.locked(), "room for the next")
    page.close()
    assert caplog.text == ""
