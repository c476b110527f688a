"""A small fleet for the tests: signed bundles on a web server, and bins that are MQTT sinks with a desk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from device.clock import SystemClock
from device.config import DeviceConfig
from device.events import Session
from device.fleet.joining import join_fleet
from device.reload import Refusal
from device.sinks.mqtt_sink import MqttSink
from smartbin.bundle import MANIFEST_FILE, Bundle, read_bundle, sha256_file, write_bundle
from smartbin.bundle_archive import pack_bundle
from smartbin.classifier import ClassifierOutput
from smartbin.errors import SmartbinError
from smartbin.golden import Golden, pack_golden
from smartbin.ort_classifier import OrtClassifier
from smartbin.signing import make_key, sign_bundle


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_server(folder: Path, handler: type[SimpleHTTPRequestHandler] = QuietHandler) -> Iterator[str]:
    """Serves a folder; yields the URL of its root."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Foundry:
    """Makes tiny bundles with golden answers, signed with its key, and packs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "private.pem"
        self.public_key = make_key(self.key)
        self.www = folder / "www"
        self.www.mkdir()

    def bundle(self, version: str, *, off: float = 0.0, sign: bool = True) -> Bundle:
        """`off`: how far its golden answers are from what it answers."""
        from tests.tiny_bundle import tiny_draft, write_tiny_bundle

        plain = write_tiny_bundle(self.folder / f"plain-{version}")
        images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
        classifier = OrtClassifier.open(plain, device="cpu", threads=1)
        answers = classifier.classify(images)
        classifier.close()
        golden = pack_golden(Golden(images, ClassifierOutput(answers.probabilities + np.float32(off), answers.energy)))
        made = write_bundle(
            self.folder / f"bundle-{version}",
            model=plain.model_path,
            card=f"# {version}\n",
            draft=tiny_draft(version=version),
            golden=golden,
        )
        if sign:
            sign_bundle(made.path, self.key)
        return made

    def archive(self, version: str, **how: object) -> tuple[Path, str]:
        """An archive below `www` and its sha256."""
        out = self.www / f"{version}.tar"
        return out, pack_bundle(self.bundle(version, **how), out)


class StagedReloader:
    """Calls `request` when it is asked; what it refused is what it is given."""

    def __init__(self, request: Callable[[], None]) -> None:
        self.request, self.refusal, self.on_refusal = request, None, lambda: None

    def refuse(self, error: SmartbinError) -> None:
        self.refusal = Refusal(error, datetime.now(timezone.utc))
        self.on_refusal()


class StagedBin:
    """A bin without a camera: its MQTT sink, joined to the fleet, running `bundle`."""

    def __init__(self, folder: Path, name: str, port: int, bundle: Bundle, public_key: str, **changes: object) -> None:
        self.name, self.folder, self.port, self.public_key = name, folder / name, port, public_key
        self.changes = changes
        self.reloader: StagedReloader | None = None
        self.start(bundle)

    def start(self, bundle: Bundle) -> None:
        self.config = DeviceConfig(
            device={"name": self.name},
            sinks={"mqtt": self._mqtt()},
            bundles={"folder": self.folder / "bundles", "public_key": self.public_key},
            fleet={"commands": True, "max_mb": 1, **self.changes.get("fleet", {})},
            runtime={"runtime": "onnxruntime-cpu", "threads": 1, **self.changes.get("runtime", {})},
        )
        self.sink = MqttSink(self.config.sinks.mqtt, self.name, SystemClock())
        join_fleet(self.config, lambda: bundle, [self.sink], list, SystemClock(), self.reloader)
        self.sink.start(session_of(bundle))

    def _mqtt(self) -> dict[str, object]:
        fields = {"enabled": True, "host": "127.0.0.1", "port": self.port, "first_s": 0.05, "cap_s": 0.2}
        return fields | {"buffer_file": self.folder / "outbox.db", **self.changes.get("mqtt", {})}

    def current(self) -> str | None:
        """The version of the bundle that the next start runs."""
        path = self.config.bundles.store.current
        return read_bundle(path).manifest.version if path is not None else None

    def close(self) -> None:
        self.sink.close()


def session_of(bundle: Bundle) -> Session:
    manifest = bundle.manifest
    return Session(
        "camera:0",
        f"{manifest.name} {manifest.version}",
        "onnxruntime-cpu",
        manifest.classes,
        0.6,
        model_name=manifest.name,
        model_version=manifest.version,
        model_sha256=sha256_file(bundle.path / MANIFEST_FILE),
    )
