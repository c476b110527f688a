"""Zip and tar archives from strangers: every member is checked, then the wanted ones are written where we say.

In: an archive, limits, and for each member the file that it shall become. Out: those files. An archive is refused whole
(`DataError`) for one member with an absolute name or one that leads out of the folder, a link, a device, an encrypted
or a doubled one, and for more files or bytes than the limits, which are counted while unpacking, whatever the archive
says of itself. Called by `train/fetching/class_photos.py` and `train/fetching/recycle_npz.py`.
"""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from rich.filesize import decimal

from smartbin.errors import DataError
from train.console import Advance
from train.fetching.disk import disk_faults

ZIP_STARTS = (b"PK\x03\x04",)
TAR_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
"""First bytes of what `unpack` takes: zip; tar behind gzip, bzip2 or xz."""

_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_LOCKED = "encrypted"
_MISTRUST = "get the archive from where it is published; do not unpack this one by hand, unless you trust who made it"
_WRONG_ONE = "is this the right archive? Else give the right one: --file FILE"
_AGAIN = "download it again: it must be whole, and the archive itself, not a page about it"
_BY_HAND = "unpack it by hand and give the folder: --file FOLDER"

Place: TypeAlias = Callable[[PurePosixPath], Path | None]
"""The file that a member shall become; None for one that is not wanted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold at most."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    is_file: bool
    fault: str
    """Why this member is refused; empty if it may pass."""
    open: Callable[[], IO[bytes] | None]


def list_members(archive: Path, limits: Limits) -> dict[PurePosixPath, int]:
    """Names and sizes of the files in the archive; `DataError` for one that `unpack` would refuse."""
    with _reading(archive):
        return {path: member.size for path, member in _checked(archive, limits)}


def unpack(archive: Path, limits: Limits, place: Place, advance: Advance) -> None:
    """Write the wanted members; `advance` counts their bytes.

    Raises `DataError` for a refused or damaged archive and `DiskError` for a disk that cannot be written to.
    """
    with _reading(archive):
        for path, member in _checked(archive, limits):
            target = place(path)
            if target is not None:
                _write(archive, member, target, advance)


def is_junk(path: PurePosixPath) -> bool:
    """Whether a member is what macOS leaves in archives (`__MACOSX`, `.DS_Store`, `._photo.jpg`), or hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _checked(archive: Path, limits: Limits) -> Iterator[tuple[PurePosixPath, _Member]]:
    """The files of the archive, each checked before a byte of it is read."""
    seen: set[PurePosixPath] = set()
    total = 0
    for member in _members(archive):
        if fault := member.fault or _fault_of_name(member.name):
            fix = _BY_HAND if fault == _LOCKED else _MISTRUST
            raise _refused(archive, f"{member.name!r}: {fault}", "plain files and folders below one folder", fix)
        path = PurePosixPath(member.name)
        if not member.is_file:
            continue
        if path in seen:
            raise _refused(archive, f"{member.name!r} is in it twice", "each file once", _MISTRUST)
        seen.add(path)
        total += member.size
        if len(seen) > limits.files:
            raise _refused(archive, f"more than {limits.files:,} files", f"at most {limits.files:,}", _WRONG_ONE)
        if total > limits.bytes:
            found, expected = f"{decimal(total)} or more when unpacked", f"at most {decimal(limits.bytes)}"
            raise _refused(archive, found, expected, _WRONG_ONE)
        yield path, member


def _members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        start = file.read(8)
    if start.startswith(ZIP_STARTS):
        yield from _zip_members(archive)
    elif start.startswith(TAR_STARTS):
        yield from _tar_members(archive)
    else:
        raise _refused(archive, f"it begins with {start!r}", "a zip file, or tar behind gzip, bzip2 or xz", _AGAIN)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            fault = "a link or a device" if kind not in (0, stat.S_IFREG, stat.S_IFDIR) else ""
            if info.flag_bits & _ENCRYPTED:
                fault = _LOCKED
            yield _Member(info.filename, info.file_size, not info.is_dir(), fault, partial(file.open, info))


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as file:
        for info in file:
            fault = "" if info.isreg() or info.isdir() else "a link or a device"
            yield _Member(info.name, info.size, info.isreg(), fault, partial(file.extractfile, info))


def _fault_of_name(name: str) -> str:
    if not name or "\0" in name or not name.isprintable():
        return "an unusable name"
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name):
        return "an absolute name"
    return "a name that leads out of the folder" if ".." in name.split("/") else ""


def _write(archive: Path, member: _Member, target: Path, advance: Advance) -> None:
    source = member.open()
    if source is None:
        raise _refused(archive, f"{member.name!r} has no content", "plain files", _MISTRUST)
    written = 0
    with source, ExitStack() as stack:
        with disk_faults(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(target.open("xb"))
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > member.size:
                break
            with disk_faults(target):
                file.write(chunk)
            advance(len(chunk), "")
    if written != member.size:
        raise _refused(
            archive,
            f"{member.name!r} has another size than is said of it: {written:,}",
            f"{member.size:,} bytes",
            _AGAIN,
        )


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Faults of an archive as a `DataError`."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise _refused(archive, f"damaged: {error}", "a whole archive", _AGAIN) from error
    except (NotImplementedError, RuntimeError) as error:
        raise _refused(archive, f"it cannot be read: {error}", "a plain archive", _BY_HAND) from error


def _refused(archive: Path, found: str, expected: str, fix: str) -> DataError:
    return DataError("the archive is refused", where=archive, found=found, expected=expected, fix=fix)
