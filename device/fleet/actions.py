"""What a command does on this bin: fetch and install a bundle, go back to the one before.

`smartbin.bundle_store` decides what is installed: it asks for the signature, tests the copy on this machine, and leaves
everything as it was where that fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from device.bundles import BundleSettings
from device.fleet.fetch import FetchLimits, fetch
from device.fleet.messages import BundleName, Command, Phase
from device.fleet.settings import FleetSettings
from smartbin.bundle import MANIFEST_FILE, Bundle, sha256_file
from smartbin.bundle_archive import unpack_bundle
from smartbin.bundle_store import Installed
from smartbin.errors import BundleError
from smartbin.golden import SelfTest


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in words, and what it means for the bin."""

    detail: str
    bundle: BundleName
    activation: Literal["running", "reloading", "next_start"]


class BundleActions:
    """Changes the installed bundles. Everything here blocks; one thread at a time.

    `running` is the bundle that the daemon has loaded. `reloads`: whether somebody loads an installed one at once.
    """

    def __init__(
        self,
        settings: FleetSettings,
        bundles: BundleSettings,
        test: Callable[[Bundle], SelfTest | None],
        running: Callable[[], BundleName],
        *,
        reloads: bool,
    ) -> None:
        self._settings, self._bundles, self._test = settings, bundles, test
        self.running, self._reloads = running, reloads

    def install(self, command: Command, tell: Callable[[Phase, str], None], stop: threading.Event) -> Done:
        """Fetch, verify, test, install; `BundleError` and all that a self-test raises, with everything as it was."""
        limits = FetchLimits(
            self._settings.max_mb * 1_000_000, self._settings.timeout_s, self._settings.fetch_s, self._settings.ca_file
        )
        with self._bundles.store.incoming() as folder:
            archive, bundle = folder / "bundle.tar", folder / "bundle"
            bundle.mkdir()
            tell("fetching", "")
            fetch(command.url, command.sha256, archive, limits, stop, lambda detail: tell("fetching", detail))
            unpack_bundle(archive, bundle, limits.size_bytes)
            archive.unlink()
            if stop.is_set():
                raise BundleError("the bin is being stopped", fix="ask it again")
            tell("testing", "")
            done = self._bundles.store.install(bundle, self._test, self._bundles.public_key)
        return self._done(f"installed, {_tested(done)}", bundle_name(done.bundle))

    def rollback(self) -> Done:
        """Go back to the bundle before; `BundleError` if there is none."""
        back = self._bundles.store.rollback(self._bundles.public_key)
        return self._done("the bundle before is current again", bundle_name(back))

    def _done(self, detail: str, bundle: BundleName) -> Done:
        if bundle.sha256 == self.running().sha256:
            return Done(f"{detail}; it is what runs", bundle, "running")
        if self._reloads:
            return Done(f"{detail}; being loaded", bundle, "reloading")
        return Done(f"{detail}; active after the next start", bundle, "next_start")


def bundle_name(bundle: Bundle) -> BundleName:
    """A bundle by name, version and the hash of its manifest."""
    manifest = bundle.manifest
    return BundleName(name=manifest.name, version=manifest.version, sha256=sha256_file(bundle.path / MANIFEST_FILE))


def _tested(done: Installed) -> str:
    if done.test is None:
        return "without a self-test: it has no golden inputs"
    return f"self-test passed on {done.test.photos} golden inputs"
