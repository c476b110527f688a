"""A bundle as one file that any web server can serve: an uncompressed tar of its files, the same bytes every time.

Nothing in an archive is trusted: `unpack_bundle` takes plain files with plain names, within limits, and nothing else.
It is uncompressed because weights hardly shrink, and because then nothing in it can be larger than the file itself.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from smartbin.atomic import write_bytes_atomic
from smartbin.bundle import MANIFEST_FILE, SIGNATURE_FILE, Bundle, sha256_file
from smartbin.errors import BundleError, ConfigError

_MOST_FILES = 64
_BLOCK_BYTES = 1 << 20


def pack_bundle(bundle: Bundle, out: Path) -> str:
    """Write the files of a verified bundle, with its signature if it has one, to `out`; returns the file's sha256."""
    if out.suffix != ".tar":
        raise ConfigError("the archive's name does not end in .tar", found=out, expected="such as mine.tar")
    names = [MANIFEST_FILE, SIGNATURE_FILE, *sorted(bundle.manifest.files)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            if (file := bundle.path / name).is_file():
                _add(archive, file)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(out, buffer.getvalue())
    except OSError as error:
        raise ConfigError("cannot write the archive", where=out, found=error) from error
    return sha256_file(out)


def unpack_bundle(archive: Path, folder: Path, limit_bytes: int) -> None:
    """Write the archive's files into `folder`, which is empty. `BundleError` for anything but a few plain files.

    One folder around them all, as `tar` of a folder has it, is taken off.
    """
    try:
        with tarfile.open(archive, mode="r:") as opened:
            members = _checked(opened, archive, limit_bytes)
            for name, member in members.items():
                source = opened.extractfile(member)
                assert source is not None  # a plain file
                with source, (folder / name).open("xb") as target:
                    shutil.copyfileobj(source, target, _BLOCK_BYTES)
    except tarfile.TarError as error:
        raise _refused(archive, f"no whole tar file: {error}") from error
    except (EOFError, ValueError) as error:  # what tarfile makes of damaged headers
        raise _refused(archive, f"no whole tar file: {error}") from error
    for name, member in members.items():
        if (size := (folder / name).stat().st_size) != member.size:
            raise _refused(archive, f"{name} ends after {size} of {member.size} bytes")


def _add(archive: tarfile.TarFile, file: Path) -> None:
    content = file.read_bytes()
    member = tarfile.TarInfo(file.name)  # owner, time and mode are nobody's: equal bundles make equal archives
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def _checked(opened: tarfile.TarFile, archive: Path, limit_bytes: int) -> dict[str, tarfile.TarInfo]:
    """The plain files by their names."""
    found: dict[str, tarfile.TarInfo] = {}
    around: set[str] = set()
    total = 0
    for count, member in enumerate(opened, 1):
        path = PurePosixPath(member.name)
        if count > 2 * _MOST_FILES:
            raise _refused(archive, f"more than {_MOST_FILES} files")
        if member.isdir() and len(path.parts) <= 1 and ".." not in path.parts and not path.is_absolute():
            continue
        if not member.isreg() or member.issparse():
            raise _refused(archive, f"{member.name!r}, which is no plain file")
        if path.is_absolute() or not 1 <= len(path.parts) <= 2 or ".." in path.parts or "\\" in member.name:
            raise _refused(archive, f"the file name {member.name!r}, which leaves the bundle")
        around.add(path.parts[0] if len(path.parts) == 2 else "")
        total += member.size
        if total > limit_bytes or len(found) >= _MOST_FILES:
            raise _refused(archive, f"more than {_MOST_FILES} files, or than {limit_bytes} bytes")
        if path.name in found:
            raise _refused(archive, f"two files named {path.name!r}")
        found[path.name] = member
    if len(around) > 1:
        raise _refused(archive, "files in several folders")
    return found


def _refused(archive: Path, found: str) -> BundleError:
    return BundleError(
        "the bundle's archive is refused",
        where=archive.name,
        found=found,
        expected="the files of one bundle in a tar file",
        fix="make it with `smartbin bundle pack DIR --out FILE.tar`",
    )
