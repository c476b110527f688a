"""`data fetch` and `data list` through the entry point: what they leave, what they say, what they do not touch."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smartbin.classes import GARBAGE_CLASSES
from smartbin.errors import ConfigError, DataError
from tests.conftest import REPOSITORY
from tests.train.fetching import (
    Fault,
    Site,
    files_below,
    garbage_photos,
    jpeg,
    recycle_arrays,
    recycle_tar,
    trashnet_zip,
)
from tests.train.sets import write_garbage
from train.config import TrainConfig
from train.datasets import root as data_root
from train.datasets.photos import open_data
from train.datasets.sources import open_sources
from train.fetching.fetched_set import FetchRecord, read_record
from train.fetching.place import locked_root
from train.fetching.registry import FILE, data_sets, read_registry
from train.run import main

Fetch = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def record_of(folder: Path) -> FetchRecord:
    record = read_record(folder)
    assert record is not None
    return record


def test_garbage_from_a_zip(fetch: Fetch, site: Site, data: Path) -> None:
    archive = trashnet_zip()
    printed = fetch("garbage", "--url", site.put("dataset-resized.zip", archive))
    left = files_below(data)
    record = json.loads(left.pop("garbage/dataset.json"))
    assert left == {f"garbage/{name}": content for name, content in garbage_photos().items()}
    assert record["counts"] == dict.fromkeys(GARBAGE_CLASSES, 2)
    assert record["archive_bytes"] == len(archive)
    assert record["archive_sha256"] == hashlib.sha256(archive).hexdigest()
    assert record["place"] == f"{site.address}/dataset-resized.zip"
    assert "partial, 12 of 2,527 photos" in printed
    assert "cardboard 2 (403)" in printed
    assert f"sha256 {record['archive_sha256']}" in printed
    assert f"--sha256 {record['archive_sha256']}" in printed
    assert [path.name for path in data.iterdir()] == ["garbage"]


def test_fetched_set_is_found_by_training(fetch: Fetch, site: Site, data: Path) -> None:
    printed = fetch("garbage", "--url", site.put("a.zip", trashnet_zip(garbage_photos(10))))
    assert f"train with: --data garbage --data-root {data}" in printed
    found = open_data(TrainConfig(data="garbage", data_root=data))
    assert len(found.photos()) == 60


def test_fetched_recycle_keeps_its_own_test_part(fetch: Fetch, site: Site, data: Path) -> None:
    fetch("recycle", "--url", site.put("a.tar.gz", recycle_tar(recycle_arrays(train=60, test=15))))
    found = open_data(TrainConfig(data="recycle", data_root=data))
    assert len(found.train) + len(found.val) == 60
    assert sorted(photo.path.name for photo in found.test) == [f"test-{number:05d}.png" for number in range(1, 16)]


def test_set_that_is_here_is_not_fetched_again(fetch: Fetch, site: Site, data: Path) -> None:
    url = site.put("a.zip", trashnet_zip())
    fetch("garbage", "--url", url)
    before = files_below(data)
    assert "unchanged since it was fetched: partial, 12 of 2,527 photos" in fetch("garbage", "--url", url)
    assert len(site.requests) == 1
    assert files_below(data) == before
    error = fetch("garbage", "--sha256", "0" * 64, code=1)
    assert "made from another archive" in error


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda photo: photo.unlink(), "glass 1 instead of 2"),
        (lambda photo: photo.write_bytes(b"short"), "another size"),
        (lambda photo: photo.write_bytes(photo.read_bytes()[::-1]), "another content"),
    ],
)
def test_changed_set_is_reported_and_left_alone(
    fetch: Fetch, site: Site, data: Path, change: Callable[[Path], object], expected: str
) -> None:
    url = site.put("a.zip", trashnet_zip())
    fetch("garbage", "--url", url)
    change(data / "garbage" / "glass" / "glass2.jpg")
    before = files_below(data)
    error = fetch("garbage", "--url", url, code=1)
    assert expected in error
    assert "--force" in error
    assert files_below(data) == before
    fetch("garbage", "--url", url, "--force")
    assert (data / "garbage" / "glass" / "glass2.jpg").read_bytes() == garbage_photos()["glass/glass2.jpg"]


def test_own_folder_is_replaced_with_force_only(fetch: Fetch, site: Site, data: Path) -> None:
    url = site.put("a.zip", trashnet_zip())
    (data / "garbage" / "mine").mkdir(parents=True)
    (data / "garbage" / "mine" / "thesis.txt").write_text("mine")
    assert "a folder in the way" in fetch("garbage", "--url", url, code=1)
    assert (data / "garbage" / "mine" / "thesis.txt").exists()
    fetch("garbage", "--url", url, "--force")
    assert not (data / "garbage" / "mine").exists()


def test_failed_force_keeps_what_was_there(fetch: Fetch, site: Site, data: Path) -> None:
    fetch("garbage", "--url", site.put("a.zip", trashnet_zip()))
    before = files_below(data)
    fetch("garbage", "--url", site.put("b.zip", trashnet_zip({"glass/glass1.jpg": jpeg(1)})), "--force", code=1)
    assert files_below(data) == before


def test_archive_that_was_replaced_is_refused_until_it_is_vouched_for(fetch: Fetch, site: Site, data: Path) -> None:
    url = site.put("a.zip", trashnet_zip())
    fetch("garbage", "--url", url)
    first = record_of(data / "garbage").archive_sha256
    other = trashnet_zip(garbage_photos(3))
    site.put("a.zip", other)
    second = hashlib.sha256(other).hexdigest()
    error = fetch("garbage", "--url", url, "--force", code=1)
    assert "another hash than the one recorded" in error
    assert str(first) in error
    assert second in error
    assert record_of(data / "garbage").photos == 12
    fetch("garbage", "--url", url, "--force", "--sha256", second.upper())
    assert record_of(data / "garbage").photos == 18


def test_wrong_hash_leaves_nothing_and_the_next_try_begins_anew(fetch: Fetch, site: Site, data: Path) -> None:
    archive = trashnet_zip()
    url = site.put("a.zip", archive)
    error = fetch("garbage", "--url", url, "--sha256", "ab" * 32, code=1)
    assert "ab" * 32 in error
    assert hashlib.sha256(archive).hexdigest() in error
    assert not data.exists()
    fetch("garbage", "--url", url, "--sha256", hashlib.sha256(archive).hexdigest())
    assert site.ranges == ["", ""]


def test_file_by_hand_needs_no_network(
    fetch: Fetch, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.fetching.download.requests.get", lambda *_, **__: pytest.fail("the network was used"))
    archive = tmp_path / "my download.zip"
    archive.write_bytes(trashnet_zip())
    fetch("garbage", "--file", str(archive))
    record = record_of(data / "garbage")
    assert (record.source, record.place, record.photos) == ("file", "my download.zip", 12)
    assert archive.exists()
    assert "another hash" in fetch("garbage", "--file", str(archive), "--force", "--sha256", "0" * 64, code=1)
    assert "no such file" in fetch("garbage", "--file", str(tmp_path / "none.zip"), "--force", code=1)


def test_folder_by_hand(fetch: Fetch, tmp_path: Path, data: Path) -> None:
    origin = tmp_path / "Garbage classification"
    for name, content in garbage_photos().items():
        file = origin / "Garbage classification" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (origin / "Garbage classification" / "glass" / "link.jpg").symlink_to("/etc/passwd")
    (origin / "zero-indexed-files.txt").write_text("glass1.jpg 0")
    before = files_below(origin)
    fetch("garbage", "--file", str(origin))
    assert {f"{name}" for name in files_below(data / "garbage")} == {*garbage_photos(), "dataset.json"}
    assert files_below(origin) == before
    assert record_of(data / "garbage").archive_sha256 is None
    assert "a folder has no hash" in fetch("garbage", "--file", str(origin), "--force", "--sha256", "0" * 64, code=1)


@pytest.mark.parametrize(
    ("photos", "expected"),
    [
        ({"glass/glass1.jpg": jpeg(1), "metal/metal1.jpg": jpeg(2)}, "cardboard, paper, plastic, trash"),
        ({}, "no class folder with photos"),
        ({**garbage_photos(), "trash/trash1.jpg": jpeg(1)[:-300]}, "trash/trash1.jpg: the photo is truncated"),
        ({**garbage_photos(), "trash/trash1.jpg": b"no photo"}, "1 of 12 photos cannot be read"),
    ],
)
def test_incomplete_archive_leaves_nothing(
    fetch: Fetch, site: Site, data: Path, photos: dict[str, bytes], expected: str
) -> None:
    url = site.put("a.zip", trashnet_zip(photos))
    assert expected in fetch("garbage", "--url", url, code=1)
    assert not data.exists()
    site.put("a.zip", trashnet_zip())  # mended on the server: what was refused is not met again
    fetch("garbage", "--url", url)


@pytest.mark.parametrize("by_hand", [True, False])
def test_broken_photo_says_of_which_archive_and_what_helps_there(
    fetch: Fetch, site: Site, tmp_path: Path, by_hand: bool
) -> None:
    archive = trashnet_zip({**garbage_photos(), "trash/trash1.jpg": jpeg(1)[:-300]})
    (tmp_path / "dam.zip").write_bytes(archive)
    origin = ["--file", str(tmp_path / "dam.zip")] if by_hand else ["--url", site.put("a.zip", archive)]
    error = fetch("garbage", *origin, code=1)
    assert f"where: {tmp_path / 'dam.zip' if by_hand else tmp_path / 'data' / '.downloads'}" in error
    assert ("or from another source" in error) is not by_hand
    assert ("download it again: --file FILE" in error) is by_hand


def test_two_sets_of_class_folders_are_refused(fetch: Fetch, site: Site) -> None:
    more = {f"copy/{name}": content for name, content in garbage_photos().items()}
    error = fetch("garbage", "--url", site.put("a.zip", trashnet_zip(more=more)), code=1)
    assert "copy, dataset-resized" in error


def test_too_little_disk_space(fetch: Fetch, site: Site, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1_000_000))
    error = fetch("garbage", "--url", site.put("a.zip", trashnet_zip()), code=1)
    assert "1.0 MB free" in error
    assert "--to FOLDER" in error
    assert not data.exists()
    archive = data.parent / "a.zip"
    archive.write_bytes(trashnet_zip())
    assert "1.0 MB free" in fetch("garbage", "--file", str(archive), code=1)
    assert not data.exists()


def test_full_disk_keeps_the_archive_for_the_next_try(
    fetch: Fetch, site: Site, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.put("a.zip", trashnet_zip())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("train.fetching.fetched_set.write_text_atomic", full)
        assert "No space left on device" in fetch("garbage", "--url", url, code=1)
    assert [path.name for path in data.iterdir()] == [".downloads"]
    fetch("garbage", "--url", url)
    assert len(site.requests) == 1
    assert [path.name for path in data.iterdir()] == ["garbage"]


def test_data_root_that_is_a_data_set_is_refused(fetch: Fetch, site: Site, data: Path) -> None:
    (data / "glass").mkdir(parents=True)
    assert "the data root is a data set itself" in fetch("garbage", "--url", site.put("a", b""), code=1)


def test_second_fetch_at_the_same_time_is_refused(fetch: Fetch, site: Site, data: Path) -> None:
    (data / ".downloads").mkdir(parents=True)
    descriptor = os.open(data / ".downloads" / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "another process is fetching" in fetch("garbage", "--url", site.put("a.zip", trashnet_zip()), code=1)
    os.close(descriptor)
    fetch("garbage", "--url", f"{site.address}/a.zip")


def test_lock_that_its_owner_removed_is_not_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the process that held the lock ends and removes the file."""
    real, first = fcntl.flock, iter([True])

    def flock(descriptor: int, operation: int) -> None:
        if next(first, False):
            (tmp_path / ".downloads" / "lock").unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked_root(tmp_path, "garbage"), pytest.raises(DataError, match="another process"):
        locked_root(tmp_path, "garbage").__enter__()


def test_ctrl_c_says_that_nothing_is_lost(
    site: Site, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("train.fetching.download._wait", interrupt)
    url = site.put("a.zip", trashnet_zip(), Fault(sent=1000))
    assert main(["data", "fetch", "garbage", "--to", str(data), "--url", url]) == 130
    assert "the same command continues" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(["data", "fetch", "garbage", "--to", str(data), "--url", url]) == 0
    assert site.ranges == ["", "bytes=1000-"]


_KILLED = """
import importlib, os, signal, sys
where, attribute, count, *arguments = sys.argv[1:]
from train.fetching.fetch import fetch_data
owner = importlib.import_module(where)
for name in attribute.split(".")[:-1]:
    owner = getattr(owner, name)
last = attribute.split(".")[-1]
real, calls = getattr(owner, last), iter(range(1, 10**6))
def kill_or_call(*given, **named):
    if next(calls) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given, **named)
setattr(owner, last, kill_or_call)
fetch_data(arguments)
"""


@pytest.mark.parametrize(
    ("where", "attribute", "count", "force"),
    [
        ("train.fetching.download", "_wait", 1, False),
        ("train.fetching.download", "_check_hash", 1, False),
        ("train.fetching.archive", "_write", 5, False),
        ("train.fetching.fetch", "write_record", 1, False),
        ("pathlib", "Path.rename", 2, True),
    ],
    ids=["half the download", "all of it", "half unpacked", "before the record", "while the old one is aside"],
)
def test_killed_fetch_is_continued(
    fetch: Fetch, site: Site, data: Path, where: str, attribute: str, count: int, force: bool
) -> None:
    archive = trashnet_zip()
    if force:
        fetch("garbage", "--url", site.put("b.zip", trashnet_zip(garbage_photos(1))))
    url = site.put("a.zip", archive, Fault(sent=len(archive) // 2))
    flags = ["garbage", "--to", str(data), "--url", url, "--attempts", "3", *(["--force"] if force else [])]
    command = [sys.executable, "-c", _KILLED, where, attribute, str(count), *flags]
    done = subprocess.run(command, check=False, cwd=REPOSITORY)
    assert done.returncode == -9
    if force:
        assert not (data / "garbage").exists()
        assert "6 of 2,527 photos" in fetch("garbage")  # the old one is back
        fetch("garbage", "--url", url, "--force")
    else:
        fetch("garbage", "--url", url)
    if attribute == "_wait":
        assert site.ranges == ["", f"bytes={len(archive) // 2}-"]
    assert record_of(data / "garbage").photos == 12
    assert [path.name for path in data.iterdir()] == ["garbage"]


def test_list_says_what_is_here(fetch: Fetch, site: Site, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch("garbage", "--url", site.put("a.zip", trashnet_zip()))
    (data / "recycle" / "boxes").mkdir(parents=True)

    def listed() -> str:
        assert main(["data", "list", "--to", str(data)]) == 0
        return capsys.readouterr().out

    assert "garbage        here: partial, 12 of 2,527 photos from url, fetched 20" in listed()
    assert "recycle        here: partial, 0 of 11,500 photos, no boxes, no glass_bottles" in listed()
    assert f"not fetched by smartbin ({data / 'recycle'})" in listed()
    assert "combined       made of garbage and recycle" in listed()
    (data / "garbage" / "glass" / "glass1.jpg").unlink()
    shutil.rmtree(data / "recycle")
    assert "changed since it was fetched: glass 1 instead of 2" in listed()
    assert "recycle        not here" in listed()
    (data / "garbage" / "dataset.json").write_text("{}")
    assert "damaged" in listed()
    assert "cannot be read" in fetch("garbage", code=1)
    fetch("garbage", "--url", f"{site.address}/a.zip", "--force")


def test_sets_made_of_others_fetch_these(fetch: Fetch, site: Site, data: Path) -> None:
    printed = fetch("recycle-small", "--url", site.put("a.tar.gz", recycle_tar()))
    assert "It needs recycle, and nothing else" in printed
    assert "train with: --data recycle-small" in printed
    assert (data / "recycle" / "dataset.json").exists()
    shutil.rmtree(data / "recycle")
    fetch("garbage", "--url", site.put("a.zip", trashnet_zip()))
    fetch("recycle", "--url", f"{site.address}/a.tar.gz")
    printed = fetch("combined")
    assert "garbage is here" in printed
    assert "recycle is here" in printed


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("banana",), "invalid choice: 'banana'"),
        (("garbage", "--sha256", "abc"), "must be 64 hexadecimal digits"),
        (("garbage", "--url", "ftp://a.zip"), "must begin with https:// or http://"),
        (("garbage", "--source", "pdx"), "must be one of kaggle, trashnet, trashnet-mirror"),
        (("combined", "--file", "a.zip"), "fetch these one by one"),
        (("garbage", "--file", "a.zip", "--url", "http://a"), "not allowed with"),
        (("garbage", "--attempts", "0"), "a whole number of 1 or more"),
        (("garbage", "--timeout", "-1"), "a number above 0"),
    ],
)
def test_wrong_command_line(flags: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["data", "fetch", *flags])
    assert expected in capsys.readouterr().err


def test_training_list_and_fetch_have_one_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SMARTBIN_DATA", raising=False)
    monkeypatch.setattr(data_root, "_REPOSITORY", tmp_path / "checkout")
    assert data_root.default_data_root() == Path("data")  # installed: no checkout around
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "pyproject.toml").touch()
    assert data_root.default_data_root() == tmp_path / "data"
    shared = write_garbage(tmp_path / "shared" / "data" / "trashnet", train=1)
    assert data_root.default_data_root() == tmp_path / "shared" / "data"
    assert main(["data", "list"]) == 0
    assert f"here: partial, 33 of 2,527 photos, not fetched by smartbin ({shared})" in capsys.readouterr().out
    assert open_sources(["garbage"], data_root.default_data_root())[0][0].source.root == shared
    shutil.rmtree(shared / "trash")
    assert main(["data", "list"]) == 0
    assert "partial, 28 of 2,527 photos, no trash, not fetched" in capsys.readouterr().out
    (tmp_path / "data" / "recycle").mkdir(parents=True)
    assert data_root.default_data_root() == tmp_path / "data"
    monkeypatch.setenv("SMARTBIN_DATA", "/elsewhere")
    assert data_root.default_data_root() == Path("/elsewhere")


@pytest.mark.parametrize("flags", [[], ["--help"]])
def test_data_alone_lists_its_commands(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *flags]) == 0
    listed = capsys.readouterr().out.split("\n")
    assert listed[1:-1] == [f"  data {name}" for name in ("fetch", "list", "preview", "groups", "audit")]
    assert main(["data", "banana"]) == 2
    assert "found: data banana" in capsys.readouterr().err


def test_shipped_registry_is_whole() -> None:
    sets = data_sets()
    assert tuple(sets["garbage"].counts) == GARBAGE_CLASSES
    assert sum(sets["garbage"].counts.values()) == 2527
    assert {source.size for source in sets["garbage"].sources if source.url} == {42_834_870}
    assert all(source.sha256 for source in sets["garbage"].sources if source.url)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('url = "http://web', 'ulr = "http://web'),
        ('sha256 = "0bf4', 'sha256 = "xyz4'),
        ('made_of = ["recycle"]', 'made_of = ["bottles"]'),
        ("most_files = 20_000", ""),
        ('kaggle = "', 'size = 5\nkaggle = "'),
        ("[recycle]", "[recycle"),
    ],
)
def test_broken_registry_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "broken.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        read_registry(tmp_path / "broken.toml")
