"""Joins a bin to its fleet: gives its MQTT sink a report of the whole bin, and a desk for commands if it takes any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from device.bundle_command import test_here
from device.clock import Clock
from device.config import DeviceConfig
from device.fleet.actions import BundleActions, bundle_name
from device.fleet.desk import CommandDesk
from device.fleet.ledger import Ledger
from device.fleet.messages import BundleName
from device.reload import Reloader
from device.sinks.bin_state import BinReport, QueueReport, RefusalReport
from device.sinks.group import Sink
from device.sinks.library import need_library
from device.sinks.mqtt_sink import MqttSink, buffer_path
from smartbin.bundle import Bundle, read_bundle
from smartbin.errors import BundleError, ConfigError

_FIXED = "the bin's configuration names the bundle that runs: [runtime] bundle"


def join_fleet(
    config: DeviceConfig,
    running: Callable[[], Bundle],
    sinks: Sequence[Sink],
    queues: Callable[[], Sequence[QueueReport]],
    clock: Clock,
    reloader: Reloader | None = None,
) -> None:
    """Before the sinks are started. `ConfigError` if commands are wanted and cannot be taken.

    `running` is the bundle that the daemon has loaded. `reloader` makes it load the one that is current now, and says
    why it does not. Without it an installed bundle runs after the next start.
    """
    mqtt = next((sink for sink in sinks if isinstance(sink, MqttSink)), None)
    if config.fleet.commands:
        _check(config, mqtt)
    if mqtt is None:
        return
    names = _Names(config, running)
    names.running()  # read while it is there: two installations later its folder is gone
    request_reload = reloader.request if reloader is not None else None
    desk = _open_desk(config, names, clock, request_reload) if config.fleet.commands else None

    def report() -> BinReport:
        refusal = reloader.refusal if reloader is not None else None
        said = RefusalReport(refusal.time, refusal.told) if refusal is not None else None
        return BinReport(queues(), next_bundle=names.next_start(), commands=desk is not None, refusal=said)

    mqtt.join(report, desk)
    if reloader is not None:
        reloader.on_refusal = mqtt.say_anew


def _open_desk(
    config: DeviceConfig, names: _Names, clock: Clock, request_reload: Callable[[], None] | None
) -> CommandDesk:
    name = config.device.resolve_name()
    actions = BundleActions(
        config.fleet,
        config.bundles,
        partial(test_here, config=config),
        names.running,
        reloads=request_reload is not None,
    )
    ledger = Ledger(buffer_path(config.sinks.mqtt, name).with_suffix(".commands.json"))
    refusal = _FIXED if config.runtime.bundle is not None else ""
    return CommandDesk(name, actions, ledger, clock, refusal=refusal, request_reload=request_reload)


def _check(config: DeviceConfig, mqtt: MqttSink | None) -> None:
    if mqtt is None:
        raise ConfigError(
            "commands of a fleet come through a broker",
            where="[fleet] commands",
            found="[sinks.mqtt] enabled = false",
            fix="enable it, or set commands = false",
        )
    if not config.bundles.public_key:
        raise ConfigError(
            "a bin that takes commands must know whose bundles it may install",
            where="[fleet] commands",
            found='[bundles] public_key = ""',
            fix="set the key that `smartbin bundle key` printed, or commands = false",
        )
    need_library("cryptography", "sign", "[fleet] commands")


class _Names:
    """The bundle that runs, and the one that the next start runs: read again only when it has changed."""

    def __init__(self, config: DeviceConfig, running: Callable[[], Bundle]) -> None:
        self._store, self._fixed = config.bundles.store, config.runtime.bundle is not None
        self._running = running
        self._known: dict[Path, BundleName | None] = {}

    def running(self) -> BundleName:
        """What the daemon has loaded."""
        bundle = self._running()
        return self._name(bundle.path) or BundleName(name=bundle.manifest.name, version=bundle.manifest.version)

    def next_start(self) -> dict[str, str] | None:
        """The installed bundle, where it is not the one that runs."""
        try:
            current = self._store.current
        except OSError:  # a folder that may not be read: the state is sent without it
            return None
        if self._fixed or current is None:
            return None
        name = self._name(current)
        return name.model_dump() if name is not None and name.sha256 != self.running().sha256 else None

    def _name(self, path: Path) -> BundleName | None:
        if path not in self._known:
            try:
                self._known[path] = bundle_name(read_bundle(path))
            except (BundleError, OSError):
                self._known[path] = None
        return self._known[path]
