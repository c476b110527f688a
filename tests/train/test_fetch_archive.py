"""Archives that mean harm, and damaged ones: refused whole, nothing written outside, nothing left."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from smartbin.errors import DataError
from tests.train.fetching import (
    Site,
    files_below,
    garbage_photos,
    npz_bytes,
    recycle_arrays,
    recycle_tar,
    tar_gz,
    trashnet_zip,
)
from train.fetching.archive import Limits, list_members, unpack

Fetch = Callable[..., str]
NPZ = {"recycle_data_shuffled.npz": npz_bytes(recycle_arrays())}


@pytest.fixture
def refused(fetch: Fetch, site: Site, tmp_path: Path) -> Callable[[str, bytes], str]:
    """Fetch this archive; asserts that it fails and that nothing is left, inside and outside of the data root."""

    def run(name: str, archive: bytes) -> str:
        error = fetch(name, "--url", site.put("archive", archive), code=1)
        assert list(files_below(tmp_path)) == []
        assert "what to do: " in error
        return error

    return run


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("dataset-resized/glass/../../../../glass/evil.jpg", "leads out of the folder"),
        ("../evil.jpg", "leads out of the folder"),
        ("/tmp/glass/evil.jpg", "absolute name"),
        ("C:/glass/evil.jpg", "absolute name"),
        ("dataset-resized\\..\\evil.jpg", "absolute name"),
        ("dataset-resized/glass/evil\n.jpg", "unusable name"),
    ],
)
def test_name_that_leads_elsewhere(refused: Callable[[str, bytes], str], name: str, fault: str) -> None:
    assert fault in refused("garbage", trashnet_zip(more={name: b"evil"}))
    assert fault in refused("recycle", tar_gz({**NPZ, name: b"evil"}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_link_or_device_in_a_tar(refused: Callable[[str, bytes], str], kind: bytes) -> None:
    member = tarfile.TarInfo("link.npz")
    member.type, member.linkname = kind, "/etc/passwd"
    assert "a link or a device" in refused("recycle", tar_gz(NPZ, member))


def test_link_in_a_zip(refused: Callable[[str, bytes], str]) -> None:
    buffer = io.BytesIO(trashnet_zip())
    with zipfile.ZipFile(buffer, "a") as archive:
        member = zipfile.ZipInfo("dataset-resized/glass/glass9.jpg")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert "a link or a device" in refused("garbage", buffer.getvalue())


def test_encrypted_zip(refused: Callable[[str, bytes], str]) -> None:
    archive = bytearray(trashnet_zip())
    entry = archive.index(b"PK\x01\x02")
    archive[entry + 8] |= 1
    error = refused("garbage", bytes(archive))
    assert "encrypted" in error
    assert "unpack it by hand" in error


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_member(refused: Callable[[str, bytes], str]) -> None:
    buffer = io.BytesIO(trashnet_zip())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("dataset-resized/glass/glass1.jpg", b"another")
    assert "is in it twice" in refused("garbage", buffer.getvalue())


def test_damaged_zip(refused: Callable[[str, bytes], str]) -> None:
    archive = bytearray(trashnet_zip())
    at = archive.index(garbage_photos()["metal/metal1.jpg"])
    archive[at + 300] ^= 0xFF
    assert "Bad CRC-32" in refused("garbage", bytes(archive))
    assert "the archive is refused" in refused("garbage", trashnet_zip()[:-500])


def test_damaged_tar(refused: Callable[[str, bytes], str]) -> None:
    archive = recycle_tar()
    assert "the archive is refused" in refused("recycle", archive[: len(archive) // 2])
    assert "the archive is refused" in refused("recycle", archive[:200] + bytes(500) + archive[700:])
    assert "the archive is refused" in refused("recycle", b"\x1f\x8b" + bytes(100))


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"<!DOCTYPE html><p>Please log in", "download it again: it must be whole, and the archive itself"),
        (trashnet_zip()[:-500], "download it again: it must be whole"),
        (trashnet_zip(more={"../evil.jpg": b"evil"}), "get the archive from where it is published"),
    ],
)
def test_file_by_hand_that_is_refused_says_what_to_do(
    fetch: Fetch, tmp_path: Path, content: bytes, advice: str
) -> None:
    (tmp_path / "g.zip").write_bytes(content)
    error = fetch("garbage", "--file", str(tmp_path / "g.zip"), code=1)
    assert f"where: {tmp_path / 'g.zip'}\n" in error
    assert f"what to do: {advice}" in error


def bomb(kind: str, size: int) -> bytes:
    """An archive of one file of `size` zero bytes."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(size))
        return buffer.getvalue()
    return tar_gz({"zeros": bytes(size)})


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "bomb"
    archive.write_bytes(bomb(kind, 3_000_000))
    assert archive.stat().st_size < 20_000
    with pytest.raises(DataError) as caught:
        unpack(archive, Limits(10, 2_999_999), lambda path: tmp_path / "out" / path.name, lambda steps, note: None)
    assert caught.value.found == "3.0 MB or more when unpacked"
    assert not (tmp_path / "out").exists()
    assert list_members(archive, Limits(10, 3_000_000)) == {PurePosixPath("zeros"): 3_000_000}


def test_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    archive = bytearray(bomb("zip", 3_000_000))
    entry = archive.index(b"PK\x01\x02")
    archive[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    (tmp_path / "bomb").write_bytes(archive)
    with pytest.raises(DataError, match="the archive is refused"):
        unpack(tmp_path / "bomb", Limits(10, 2000), lambda path: tmp_path / "out", lambda steps, note: None)
    assert not (tmp_path / "out").exists() or (tmp_path / "out").stat().st_size <= 1000


@pytest.mark.parametrize("make", [trashnet_zip, tar_gz])
def test_too_many_files(tmp_path: Path, make: Callable[[dict[str, bytes]], bytes]) -> None:
    (tmp_path / "many").write_bytes(make({f"glass/{number}.jpg": b"" for number in range(60)}))
    with pytest.raises(DataError) as caught:
        list_members(tmp_path / "many", Limits(50, 10**9))
    assert caught.value.found == "more than 50 files"


def test_neither_zip_nor_tar(refused: Callable[[str, bytes], str], fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "photos.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    error = fetch("garbage", "--file", str(tmp_path / "photos.rar"), code=1)
    assert "it begins with b'Rar!" in error
    assert (tmp_path / "photos.rar").exists()


@pytest.mark.parametrize("mode", ["w:bz2", "w:xz"])
def test_other_compressions_of_tar(tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "archive", mode) as archive:
        info = tarfile.TarInfo("./below/a.txt")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    unpack(tmp_path / "archive", Limits(5, 100), lambda path: tmp_path / path.name, lambda steps, note: None)
    assert (tmp_path / "a.txt").read_bytes() == b"abc"
