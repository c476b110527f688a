from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from device.cli import main
from smartbin.bundle import builtin_bundle_path, read_bundle
from smartbin.bundle_archive import pack_bundle, unpack_bundle
from smartbin.errors import BundleError, ConfigError
from smartbin.signing import make_key, sign_bundle

LIMIT = 100_000_000


def make_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def named(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def unpack(archive: Path, tmp_path: Path, limit: int = LIMIT) -> Path:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    unpack_bundle(archive, folder, limit)
    return folder


def test_there_and_back_is_the_same_bundle(tmp_path: Path) -> None:
    bundle = read_bundle(builtin_bundle_path())
    sha256 = pack_bundle(bundle, tmp_path / "a.tar")
    assert pack_bundle(bundle, tmp_path / "b.tar") == sha256  # the same bytes every time
    again = read_bundle(unpack(tmp_path / "a.tar", tmp_path))
    assert again.manifest == bundle.manifest
    assert sorted(path.name for path in again.path.iterdir()) == sorted([*bundle.manifest.files, "manifest.json"])


def test_a_tar_of_the_folder_does_as_well(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(builtin_bundle_path(), "mine")
    assert read_bundle(unpack(tmp_path / "a.tar", tmp_path)).manifest.name


def test_the_command_says_what_to_announce(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cryptography", reason="no cryptography here (pip install 'smartbin[sign]')")
    import shutil

    folder = Path(shutil.copytree(builtin_bundle_path(), tmp_path / "mine"))
    assert main(["bundle", "pack", str(folder), "--out", str(tmp_path / "www" / "mine.tar")]) == 0
    assert "not signed" in capsys.readouterr().out
    make_key(tmp_path / "key")
    sign_bundle(folder, tmp_path / "key")
    assert main(["bundle", "pack", str(folder), "--out", str(tmp_path / "www" / "mine.tar")]) == 0
    told = capsys.readouterr().out
    assert ", signed\nsha256 " in told
    assert (unpack(tmp_path / "www" / "mine.tar", tmp_path) / "signature.bin").is_file()


def test_names_and_places_that_cannot_be(tmp_path: Path) -> None:
    bundle = read_bundle(builtin_bundle_path())
    with pytest.raises(ConfigError, match=r"does not end in \.tar"):
        pack_bundle(bundle, tmp_path / "mine.tar.gz")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write the archive"):
        pack_bundle(bundle, tmp_path / "file" / "mine.tar")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([(named("../evil"), b"x")], "leaves the bundle"),
        ([(named("/etc/evil"), b"x")], "leaves the bundle"),
        ([(named("mine/../../evil"), b"x")], "leaves the bundle"),
        ([(named(".."), b"x")], "leaves the bundle"),
        ([(named("a/b/c"), b"x")], "leaves the bundle"),
        ([(named("a\\b"), b"x")], "leaves the bundle"),
        ([(named("link", tarfile.SYMTYPE, "/etc/passwd"), b"")], "no plain file"),
        ([(named("link", tarfile.LNKTYPE, "manifest.json"), b"")], "no plain file"),
        ([(named("device", tarfile.CHRTYPE), b"")], "no plain file"),
        ([(named("pipe", tarfile.FIFOTYPE), b"")], "no plain file"),
        ([(named("one/two", tarfile.DIRTYPE), b"")], "no plain file"),
        ([(named("a"), b"x"), (named("a"), b"y")], "two files"),
        ([(named("a"), b"x"), (named("mine/a"), b"y")], "two files"),
        ([(named("a/x"), b"x"), (named("b/y"), b"y")], "several folders"),
        ([(named(f"f{number}"), b"") for number in range(65)], "more than 64 files"),
        ([(named("d", tarfile.DIRTYPE), b"")] * 200, "more than 64 files"),
        ([(named("large"), b"x" * 2000)], "than 1000 bytes"),
    ],
)
def test_what_an_archive_may_not_hold(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], said: str) -> None:
    archive = make_tar(tmp_path / "evil.tar", *members)
    with pytest.raises(BundleError, match=r"archive is refused") as caught:
        unpack(archive, tmp_path, 1000)
    assert said in str(caught.value)
    assert not list((tmp_path / "unpacked").iterdir())
    assert not (tmp_path / "evil").exists()


def test_a_file_with_holes_is_refused(tmp_path: Path) -> None:
    """A pax header may say that a few bytes are the start of an enormous file."""
    info = named("model.onnx")
    info.pax_headers = {"GNU.sparse.size": "10000000000", "GNU.sparse.map": "0,1", "GNU.sparse.name": "model.onnx"}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(BundleError, match="refused"):
        unpack(tmp_path / "a.tar", tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 511, 512, 700, 100_000])
def test_what_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    archive = tmp_path / "a.tar"
    pack_bundle(read_bundle(builtin_bundle_path()), archive)
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(BundleError):
        read_bundle(unpack(archive, tmp_path))


@pytest.mark.parametrize("content", [b"no tar at all" * 100, b"\x1f\x8b" + b"x" * 1000, b"\xff" * 5000])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(BundleError, match="refused"):
        unpack(tmp_path / "a.tar", tmp_path)
