"""`smartbin run`: puts the daemon together from the configuration, runs it, and prints what it did."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType

import cv2
import numpy as np
from rich.console import Console

from device.bundle_command import test_here
from device.bundles import choose_bundle
from device.camera import Camera
from device.capture import Capture
from device.clock import Clock, SystemClock
from device.config import DeviceConfig, load_config_with_origins
from device.daemon import Daemon
from device.decision import Mode, make_verdicts
from device.events import Session
from device.frame_judges import make_judge
from device.opening import CameraOpener
from device.pipeline import Pipeline
from device.presence import PresenceDetector
from device.presence_sensor import make_presence
from device.service_notifier import ServiceNotifier
from device.sinks import SinkGroup
from device.sinks.opening import open_sinks as open_sinks  # benchmarks take it from here
from device.sources import PhotoSource, Source, parse_source, shown
from device.status import BinStatus, QueueCounts
from device.steady_light import SteadyGamma
from device.store_sink import StoreSink, open_store
from device.summary import print_summary
from device.watchdog import Watchdog, exit_stalled
from device.web.opening import OpenPage, open_page
from device.web.parts import PageParts
from smartbin.bundle import Bundle
from smartbin.classifier import Classifier
from smartbin.errors import SmartbinError, StalledError, drop_stdout
from smartbin.latency import StageTimer
from smartbin.runtime import open_classifier


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    """Run the daemon until it ends or `stop` is set; 0 when it was stopped or the recording is over."""
    config, origins = load_config_with_origins(options.config, _overrides(options))
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        handlers=[StderrHandler()],
    )
    cv2.setNumThreads(config.runtime.opencv_threads)
    if options.source is None and config.source.uri == "scene":
        print("no --source given: playing the built-in scene (try --source camera:0)", file=sys.stderr)
    return run_daemon(config, SystemClock(), stop, origins)


def run_daemon(
    config: DeviceConfig, clock: Clock, stop: threading.Event, origins: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Everything between configuration and exit code. `origins` say where the values come from; the page shows it."""
    source = parse_source(config.source.uri)
    bundle = choose_bundle(config.runtime.bundle, config.bundles)
    with ExitStack() as stack:
        classifier = open_classifier(bundle, config.runtime.runtime, config.runtime.threads, config.engine)
        stack.callback(classifier.close)
        size = classifier.size
        classifier.classify(np.zeros((1, size, size, 3), np.uint8))  # the first run is slow: not on somebody's bottle
        kept = open_store(config.store, config.samples, live=source.live)
        for sink in kept:
            stack.callback(sink.close)
        notifier = ServiceNotifier.of_environment(clock)
        told = [notifier] if notifier is not None else []
        status = BinStatus(clock)
        sinks = SinkGroup([*open_sinks(config, Console(), clock), *kept, *told, status], reader_gone=stop.set)
        on_progress = notifier.alive if notifier is not None else None
        daemon = assemble(
            config, source, bundle, classifier, sinks, clock, stop, on_progress=on_progress, timer=status.timer
        )
        status.watch(
            lambda: daemon.capture_counts, lambda: daemon.without_progress_s, lambda: queue_counts(kept, sinks)
        )
        page: OpenPage | None = None
        if config.page.enabled:
            name = config.device.resolve_name()
            test = partial(test_here, config=config)
            parts = PageParts(name, config, origins, status, bundle, test, clock, daemon.look_at, bool(kept))
            page = open_page(parts)
            stack.callback(page.close)
        failure: SmartbinError | None = None
        try:
            daemon.run()
        except SmartbinError as error:
            failure = error
        if config.sinks.terminal != "off":
            _print_summary(daemon, to_stderr=config.sinks.json_lines == "-")
        if daemon.camera_hangs or (page is not None and not page.close()):
            _end_process(failure)
        if failure is not None:
            raise failure
    return 0


def _end_process(failure: SmartbinError | None) -> None:
    """Leave at once: a thread inside a hung driver, or a request that hangs, would keep the process from ending."""
    if failure is not None:
        print(f"error: {failure}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(failure.exit_code if failure is not None else 0)


class StderrHandler(logging.Handler):
    """Logs to what `sys.stderr` is at the moment: the live view puts itself in its place, to print above its panel."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print(self.format(record), file=sys.stderr)


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
) -> Daemon:
    """The daemon for a source, a model and sinks; nothing is started yet.

    `opener` opens another camera in the source's place: benchmarks stage one, and a soak keeps the `CameraOpener` of a
    test camera to ask for its faults. `on_progress` is called whenever the main loop
    has made progress.
    """
    manifest = bundle.manifest
    spec = manifest.preprocess
    if config.brightness is not None:
        spec = spec.model_copy(update={"brightness": config.brightness})
    mode, are_photos = resolve_mode(config, source), isinstance(shown(source), PhotoSource)
    verdicts = make_verdicts(config.decision, manifest.classes, manifest.thresholds)
    pipeline = Pipeline(
        classifier,
        spec,
        make_judge(mode, config.decision, verdicts),
        make_presence(PresenceDetector(config.presence), config.sensor) if mode == "item" else None,
        timer,
        steady=None if mode == "every_frame" or are_photos else SteadyGamma(config.light.smooth_s),
        region=config.presence.region,
    )
    capture = Capture(
        opener if opener is not None else CameraOpener(source, config.source, manifest.classes, clock, stop),
        live=source.live,
        max_age_s=config.source.max_age_s,
        reconnect=config.source.reconnect,
        clock=clock,
        stop=stop,
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
        ),
        clock=clock,
        stop=stop,
        live=source.live,
        reconnect=config.source.reconnect,
        max_seconds=config.runtime.max_seconds,
    )


def resolve_mode(config: DeviceConfig, source: Source) -> Mode:
    """The configured mode; `auto` judges each photo for itself and everything else by item."""
    if config.decision.mode != "auto":
        return config.decision.mode
    return "every_frame" if isinstance(shown(source), PhotoSource) else "item"


def queue_counts(kept: Sequence[StoreSink], sinks: SinkGroup) -> list[QueueCounts]:
    """What waits and what was lost, of all that write or send on threads of their own."""
    found = []
    for sink in kept:
        written = sink.writer.counts
        found.append(QueueCounts("store", written.waiting, written.dropped, written.failures))
    for name, sent in sinks.counts():
        error = (sent.last_error or "no reason given") if sent.failing else ""
        found.append(QueueCounts(name, sent.waiting, sent.dropped, sent.failures, error))
    return found


def _print_summary(daemon: Daemon, *, to_stderr: bool) -> None:
    summary = daemon.summary()
    if summary.frames == 0:
        return
    try:
        print_summary(summary, summary_console(to_stderr=to_stderr))
    except BrokenPipeError:  # `smartbin run | head`: the reader has gone
        drop_stdout()


def summary_console(*, to_stderr: bool) -> Console:
    """A console that is wide enough for the summary in a log file, too."""
    console = Console(stderr=to_stderr)
    return console if console.is_terminal else Console(stderr=to_stderr, width=120)


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    """The command line as dotted configuration keys; None means: not given."""
    return {
        "source.uri": options.source,
        "source.loop": options.loop,
        "source.pace": options.pace,
        "source.width": options.width,
        "source.height": options.height,
        "source.fps": options.fps,
        "decision.mode": options.mode,
        "sinks.json_lines": options.json,
        "sinks.terminal": options.view,
        "runtime.bundle": options.bundle,
        "runtime.runtime": options.runtime,
        "runtime.threads": options.threads,
        "runtime.max_seconds": options.max_seconds,
        "runtime.stall_s": options.stall_seconds,
        "page.enabled": options.page,
    }
