"""Installed bundles: one is current, the one before it is kept, and changing between them is one rename.

ROOT/NAME-VERSION-HASH/     a bundle, as it was copied
ROOT/current                link to the one that runs
ROOT/previous               link to the one that ran before
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smartbin.atomic import replace_folder, replace_link
from smartbin.bundle import MANIFEST_FILE, Bundle, read_bundle, sha256_file
from smartbin.errors import BundleError, SmartbinError
from smartbin.golden import SelfTest
from smartbin.signing import verify_signature

CURRENT, PREVIOUS = "current", "previous"
INCOMING = ".incoming-"  # folders below the store in which bundles arrive: not tidied away by another installation
_HASH_DIGITS = 10
_SPACE = 3  # the archive, what is in it, and the installed copy are on the disk together


@dataclass(frozen=True, slots=True)
class Installed:
    """What an installation did."""

    bundle: Bundle
    test: SelfTest | None
    """None: the bundle has no golden inputs to test itself with."""
    replaced: Path | None
    """The bundle that ran before."""


def default_store() -> Path:
    """`$XDG_DATA_HOME/smartbin/bundles`, else below `~/.local/share`."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "smartbin" / "bundles"


def read_trusted(path: Path, public_key: str) -> Bundle:
    """`read_bundle`, and where a public key is given, only if the bundle is signed with its other half."""
    if public_key:
        verify_signature(path, public_key)
    return read_bundle(path)


class BundleStore:
    """The bundles below `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def current(self) -> Path | None:
        """The folder of the bundle that runs, None if none was installed. It may be gone: reading it says so."""
        return self._target(CURRENT)

    @property
    def previous(self) -> Path | None:
        """The folder of the one before, None if there is none."""
        return self._target(PREVIOUS)

    def install(self, source: Path, test: Callable[[Bundle], SelfTest | None], public_key: str = "") -> Installed:
        """Verify and copy the bundle in `source`, test the copy, and only then make it current.

        `test` runs the copy on this machine and raises if it does not answer as it should; the store then is as it was.
        A copy that is here already is copied again if it is damaged, or lacks the signature that is now asked for.
        `BundleError` if the bundle in `source` is damaged, or not signed as `public_key` asks.
        """
        offered = read_trusted(source, public_key)
        with self._locked():
            folder = self.root / _folder_name(offered)
            fresh = not folder.exists()
            if fresh or not _is_whole(folder, public_key):
                with replace_folder(folder) as new:
                    shutil.copytree(source, new, dirs_exist_ok=True)
            try:
                bundle = read_trusted(folder, public_key)  # the copy, as it lies on this disk
                tested = test(bundle)
            except SmartbinError:
                if fresh:
                    shutil.rmtree(folder)
                raise
            before = self.current
            if before is not None and before != folder and before.is_dir():
                self._point(PREVIOUS, before)
            self._point(CURRENT, folder)
            self._tidy()
            return Installed(bundle, tested, before if before != folder else None)

    def rollback(self, public_key: str = "") -> Bundle:
        """Make the previous bundle current and this one previous.

        `BundleError` if there is none, or it is damaged or not signed as `public_key` asks: the bin would not start.
        """
        with self._locked():
            now, before = self.current, self.previous
            if now is None or before is None or now == before:
                raise BundleError(
                    "there is no bundle to go back to",
                    where=self.root,
                    fix="install another: smartbin bundle install DIR",
                )
            bundle = read_trusted(before, public_key)
            self._point(CURRENT, before)
            self._point(PREVIOUS, now)
            return bundle

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A new folder on the store's disk for a bundle that arrives; it is gone afterwards.

        What a killed process has left of its own goes first. `OSError` if the store cannot be written.
        """
        with self._locked():
            for old in self.root.glob(f"{INCOMING}*"):
                if not _is_held(old):
                    shutil.rmtree(old, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=INCOMING, dir=self.root))
            held = os.open(folder, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)

    def _target(self, link: str) -> Path | None:
        path = self.root / link
        return self.root / path.readlink() if path.is_symlink() else None

    def _point(self, link: str, folder: Path) -> None:
        replace_link(self.root / link, folder.name)

    def _tidy(self) -> None:
        """Delete all bundles but the two."""
        kept = {self.current, self.previous}
        for folder in self.root.iterdir():
            if folder in kept or folder.is_symlink() or folder.name.startswith(INCOMING):
                continue
            if folder.is_dir():
                shutil.rmtree(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time, also from several processes."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def need_space(folder: Path, size_bytes: int) -> None:
    """`BundleError` unless the disk of `folder` has room for an archive of this size and for what is made of it."""
    needed, free = _SPACE * size_bytes, shutil.disk_usage(folder).free
    if free < needed:
        raise BundleError(
            "too little free disk for the bundle",
            where=folder.parent,
            found=f"{free / 1e6:.0f} MB",
            expected=f"{needed / 1e6:.0f} MB, three times the archive",
            fix="make room, such as by [samples] max_mb",
        )


def _is_held(folder: Path) -> bool:
    """Whether somebody who lives is putting a bundle together in it."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(opened)
    return False


def _is_whole(folder: Path, public_key: str) -> bool:
    try:
        read_trusted(folder, public_key)
    except BundleError:
        return False
    return True


def _folder_name(bundle: Bundle) -> str:
    manifest = bundle.manifest
    return f"{manifest.name}-{manifest.version}-{sha256_file(bundle.path / MANIFEST_FILE)[:_HASH_DIGITS]}"
