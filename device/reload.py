"""A new configuration or model without a restart: tried while the old one goes on, then taken between two items.

Asked for by SIGHUP, from the page, or by who manages the fleet. What is refused changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeAlias

import numpy as np

from device.bundles import choose_bundle
from device.config import DeviceConfig
from device.service_notifier import ServiceNotifier
from device.sources import Source, parse_source
from smartbin.bundle import Bundle
from smartbin.bundle_store import read_trusted
from smartbin.classifier import Classifier
from smartbin.errors import BundleError, SmartbinError
from smartbin.golden import self_test
from smartbin.runtime import open_classifier

_log = logging.getLogger(__name__)
_JOIN_S = 5.0
_TOLD_CHARACTERS = 500
_SETTLE_S = 1.0  # who asked on the page gets the answer before its server changes, too

Read: TypeAlias = Callable[[], tuple[DeviceConfig, Mapping[str, str]]]
"""Reads the configuration, and where each of its values comes from."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run of the daemon is made of. `classifier` is open, and closed by the run."""

    config: DeviceConfig
    origins: Mapping[str, str]
    source: Source
    bundle: Bundle
    classifier: Classifier


def prepare(
    config: DeviceConfig, origins: Mapping[str, str], *, bundle: Bundle | None = None, test: bool = False
) -> Setup:
    """Open the model of a configuration, or that `bundle`; with `test` it has to give its golden answers.

    `ConfigError`, `BundleError` or `InferenceError` if something does not fit.
    """
    source = parse_source(config.source.uri)
    bundle = bundle or choose_bundle(config.runtime.bundle, config.bundles)
    classifier = open_classifier(bundle, config.runtime.runtime, config.runtime.threads, config.engine)
    try:
        size = classifier.size
        classifier.classify(np.zeros((1, size, size, 3), np.uint8))  # the first run is slow: not on somebody's bottle
        if test:
            self_test(bundle, classifier)
    except BaseException:
        classifier.close()
        raise
    return Setup(config, origins, source, bundle, classifier)


def prepare_first(
    config: DeviceConfig, origins: Mapping[str, str], on_refusal: Callable[[SmartbinError], None]
) -> Setup:
    """`prepare` at the start of the daemon. Where the installed bundle is damaged or gone, as on a worn card, the one
    before it runs, if it is whole, and this is said aloud and told `on_refusal`; a bundle that the configuration names
    has none before it.
    """
    try:
        return prepare(config, origins)
    except BundleError as refusal:
        before = config.bundles.store.previous if config.runtime.bundle is None else None
        if before is None:
            raise
        try:
            bundle = read_trusted(before, config.bundles.public_key)
        except BundleError:
            raise refusal from None
        _log.error("the installed bundle is refused, the one before it runs, %s: %s", before.name, refusal)
        setup = prepare(config, origins, bundle=bundle)
        on_refusal(refusal)
        return setup


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a setup that was asked for does not run, and when that was found out."""

    error: SmartbinError
    time: datetime

    @property
    def told(self) -> str:
        """In one line, for who does not see the log: what, where, what was found. Secrets are in none of them."""
        parts = (self.error.what, self.error.where, self.error.found)
        return "; ".join(" ".join(str(part).split()) for part in parts if part is not None)[:_TOLD_CHARACTERS]


class Reloader:
    """A thread that prepares another setup when it is asked, and holds it until the main loop takes it.

    `on_refusal` is called, from any thread, when one was refused.
    """

    def __init__(self, read: Read, notifier: ServiceNotifier | None = None) -> None:
        self._read, self._notifier = read, notifier
        self._asked, self._lock = threading.Condition(), threading.Lock()
        self._wanted = self._closing = False
        self._ready: Setup | None = None
        self.refusal: Refusal | None = None
        """Why the last one that was asked for does not run; None if it does, or is still being tested."""
        self.on_refusal: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._work, name="reload", daemon=True)
        self._thread.start()

    def __enter__(self) -> Reloader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self) -> None:
        """Ask for what the files say now. Returns at once; several in a row are one. Any thread, no signal handler."""
        with self._asked:
            self._wanted, self.refusal = True, None
            self._asked.notify_all()

    def refuse(self, error: SmartbinError) -> None:
        """Remember why the last one does not run."""
        self.refusal = Refusal(error, datetime.now(timezone.utc))
        self.on_refusal()

    @property
    def due(self) -> bool:
        """Whether a setup is ready to be taken."""
        return self._ready is not None

    def take(self) -> Setup | None:
        """The setup that is ready, once."""
        with self._lock:
            ready, self._ready = self._ready, None
        return ready

    def close(self) -> None:
        """End the thread; what was not taken is closed."""
        with self._asked:
            self._closing = True
            self._asked.notify_all()
        self._thread.join(_JOIN_S)
        if (left := self.take()) is not None:
            left.classifier.close()

    def _work(self) -> None:
        while True:
            with self._asked:
                self._asked.wait_for(lambda: self._wanted or self._closing)
                if self._closing:
                    return
                if self._asked.wait_for(lambda: self._closing, _SETTLE_S):
                    return
                self._wanted = False
            self._prepare()

    def _prepare(self) -> None:
        _log.warning("reading configuration and model again")
        if self._notifier is not None:
            self._notifier.reloading()
        try:
            setup = prepare(*self._read(), test=True)
        except SmartbinError as error:
            _log.error("not taken, the bin goes on as it was: %s", error)
            self.refuse(error)
            if self._notifier is not None:
                self._notifier.reloaded()
            return
        with self._lock:
            replaced, self._ready = self._ready, setup
        if replaced is not None:
            replaced.classifier.close()


class LinkedStop(threading.Event):
    """An event that is set by itself, or with `other`: it ends one run, the other one all of them."""

    _POLL_S = 0.1

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Whether either is."""
        return super().is_set() or self._other.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for either; a tenth of a second late at most."""
        left_s = float("inf") if timeout is None else timeout
        while not self.is_set() and left_s > 0:
            super().wait(min(left_s, self._POLL_S))
            left_s -= self._POLL_S
        return self.is_set()
