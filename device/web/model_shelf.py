"""The models of this bin: the one that runs, the installed ones, and those that may be installed from the page.

A bundle is named, never located: the name must be one of those that lie in the configured folder.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from device.bundles import BundleSettings
from smartbin.bundle import CARD_FILE, MANIFEST_FILE, Bundle, Manifest
from smartbin.bundle_archive import unpack_bundle
from smartbin.bundle_store import BundleStore
from smartbin.errors import BundleError
from smartbin.golden import SelfTest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_MOST = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """A bundle that may be installed: its folder's name, and what its manifest says."""

    name: str
    told: str


class ModelShelf:
    """Shows and changes the installed bundles. One change at a time; any thread."""

    def __init__(
        self,
        running: Bundle,
        settings: BundleSettings,
        bundles_from: Path | None,
        test: Callable[[Bundle], SelfTest | None],
        reload: Callable[[], None],
        *,
        fixed: bool,
    ) -> None:
        """`fixed`: the configuration names the bundle to run, so that what is installed does not matter. `reload` makes
        the bin take what is installed.
        """
        self.running = running
        self.fixed = fixed
        self._settings, self._from, self._test, self._reload = settings, bundles_from, test, reload
        self._changing = threading.Lock()

    @property
    def may_upload(self) -> bool:
        """Whether a bundle may be sent here: its signature must be asked for."""
        return bool(self._settings.public_key)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes the bundles meanwhile; `BundleError` at once if somebody does."""
        if not self._changing.acquire(blocking=False):
            raise BundleError("another bundle is being installed at the moment", fix="wait for it")
        try:
            yield
        finally:
            self._changing.release()

    @property
    def store(self) -> BundleStore:
        """Where they are installed."""
        return self._settings.store

    @property
    def may_install(self) -> bool:
        """Whether a folder to install from is configured."""
        return self._from is not None

    def card(self) -> str:
        """The model card of the bundle that runs, Markdown."""
        try:
            return (self.running.path / CARD_FILE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return "*The model card is not there any more: another bundle was installed meanwhile.*"

    def installed(self) -> str | None:
        """The installed bundle, None if none is installed."""
        return _told(self.store.current)

    def previous(self) -> str | None:
        """The one before, None if there is none."""
        return _told(self.store.previous)

    def offers(self) -> list[Offer]:
        """The bundles in the configured folder; those that cannot be read are left out."""
        if self._from is None:
            return []
        try:
            folders = sorted(path for path in self._from.expanduser().iterdir() if _NAME.fullmatch(path.name))
        except OSError:
            return []
        return [Offer(path.name, told) for path in folders[:_MOST] if (told := _told(path)) is not None]

    def install(self, name: str) -> str:
        """Install an offered bundle, after its self-test; says what was done. `BundleError` if it is refused."""
        if self._from is None or name not in {offer.name for offer in self.offers()}:
            raise BundleError("no such bundle is offered", found=repr(name)[:80], fix="choose one of the list")
        with self.changing():
            return self._install(self._from.expanduser() / name)

    def install_archive(self, archive: Path, folder: Path, limit_bytes: int) -> str:
        """Install a signed bundle that was sent as an archive, unpacking it into `folder`, while `changing` is held."""
        if not self.may_upload:
            raise BundleError(
                "no bundle may be sent here",
                found='[bundles] public_key = ""',
                fix="set the key that `smartbin bundle key` printed",
            )
        folder.mkdir()
        unpack_bundle(archive, folder, limit_bytes)
        archive.unlink()
        return self._install(folder)

    def _install(self, source: Path) -> str:
        done = self.store.install(source, self._test, self._settings.public_key)
        tested = "it has no golden inputs to test itself with"
        if done.test is not None:
            tested = f"its self-test passed on {done.test.photos} golden inputs"
        return f"{title(done.bundle.manifest)} is installed; {tested}. {self._take()}"

    def rollback(self) -> str:
        """Go back to the bundle before; says what was done. `BundleError` if there is none."""
        with self.changing():
            back = self.store.rollback(self._settings.public_key)
        return f"{title(back.manifest)} is current again. {self._take()}"

    def _take(self) -> str:
        """Make the bin take it; says when."""
        if self.fixed:
            return "The configuration names another bundle, which goes on running: [runtime] bundle."
        self._reload()
        return "The bin takes it as soon as no item is there."


def title(manifest: Manifest) -> str:
    """A model in a few words."""
    return f"{manifest.name} {manifest.version} ({manifest.architecture}, {manifest.precision})"


def _told(folder: Path | None) -> str | None:
    """What a bundle's manifest says of it; the files are verified when it is installed, not here."""
    if folder is None:
        return None
    try:
        return title(Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes()))
    except (OSError, ValidationError):
        return None
