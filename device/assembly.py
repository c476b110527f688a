"""Puts the daemon together: the one place that knows which part of a configuration belongs to which part of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from device.camera import Camera
from device.capture import Capture
from device.clock import Clock
from device.config import DeviceConfig
from device.daemon import Daemon
from device.decision import Mode, make_verdicts
from device.events import Session
from device.frame_judges import make_judge
from device.opening import CameraOpener
from device.pipeline import Pipeline
from device.presence import PresenceDetector
from device.presence_sensor import make_presence
from device.sinks import SinkGroup
from device.sources import PhotoSource, Source, shown
from device.steady_light import SteadyGamma
from device.watchdog import Watchdog, exit_stalled
from smartbin.bundle import MANIFEST_FILE, Bundle, sha256_file
from smartbin.classifier import Classifier
from smartbin.errors import StalledError
from smartbin.latency import StageTimer


def assemble(
    config: DeviceConfig,
    source: Source,
    bundle: Bundle,
    classifier: Classifier,
    sinks: SinkGroup,
    clock: Clock,
    stop: threading.Event,
    opener: Callable[[], Camera] | None = None,
    on_progress: Callable[[], None] | None = None,
    timer: StageTimer | None = None,
    reload_due: Callable[[], bool] = lambda: False,
) -> Daemon:
    """The daemon for a source, a model and sinks; nothing is started yet.

    `opener` opens another camera in the source's place: benchmarks stage one, and a soak keeps the `CameraOpener` of a
    test camera to ask for its faults. `on_progress` is called whenever the main loop has made progress.
    """
    manifest = bundle.manifest
    spec = manifest.preprocess
    if config.brightness is not None:
        spec = spec.model_copy(update={"brightness": config.brightness})
    mode, are_photos = resolve_mode(config, source), isinstance(shown(source), PhotoSource)
    verdicts = make_verdicts(config.decision, manifest.classes, manifest.thresholds)
    capture = Capture(
        opener if opener is not None else CameraOpener(source, config.source, manifest.classes, clock, stop),
        live=source.live,
        max_age_s=config.source.max_age_s,
        reconnect=config.source.reconnect,
        clock=clock,
        stop=stop,
    )
    pipeline = Pipeline(
        classifier,
        spec,
        make_judge(mode, config.decision, verdicts),
        make_presence(PresenceDetector(config.presence), config.sensor) if mode == "item" else None,
        timer,
        steady=None if mode == "every_frame" or are_photos else SteadyGamma(config.light.smooth_s),
        region=config.presence.region,
        went_stale=capture.went_stale,
    )
    model = f"{manifest.name} {manifest.version} ({manifest.precision})"

    def on_stall(error: StalledError) -> None:
        sinks.close_threads()
        exit_stalled(error)

    return Daemon(
        capture,
        pipeline,
        sinks,
        Watchdog(config.runtime.stall_s, clock, on_stall, on_feed=on_progress),
        Session(
            str(source),
            model,
            classifier.runtime,
            manifest.classes,
            manifest.thresholds.min_confidence,
            model_name=manifest.name,
            model_version=manifest.version,
            passed_over=classifier.passed_over,
            model_sha256=sha256_file(bundle.path / MANIFEST_FILE),
        ),
        clock=clock,
        stop=stop,
        live=source.live,
        reconnect=config.source.reconnect,
        max_seconds=config.runtime.max_seconds,
        reload_due=reload_due,
    )


def resolve_mode(config: DeviceConfig, source: Source) -> Mode:
    """The configured mode; `auto` judges each photo for itself and everything else by item."""
    if config.decision.mode != "auto":
        return config.decision.mode
    return "every_frame" if isinstance(shown(source), PhotoSource) else "item"
