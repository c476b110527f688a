"""`smartbin run`: runs the daemon of a configuration, and of those that follow it, and prints what it did."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import cv2
from rich.console import Console

from device.assembly import assemble
from device.bundle_command import test_here
from device.camera import Camera
from device.clock import Clock, SystemClock
from device.config import DeviceConfig, load_config_with_origins
from device.daemon import Daemon
from device.fleet.joining import join_fleet
from device.heap import settled_heap
from device.region_choice import RegionChoice, regions_file
from device.reload import LinkedStop, Reloader, Setup, prepare, prepare_first
from device.service_notifier import ServiceNotifier
from device.signals import reload_on_hangup
from device.sinks import Sink, SinkGroup
from device.sinks.opening import open_sinks as open_sinks  # benchmarks take it from here
from device.status import BinStatus, QueueCounts
from device.store_sink import StoreSink, open_store
from device.summary import print_summary
from device.web.memory import PageMemory
from device.web.opening import OpenPage, open_page
from device.web.parts import PageParts
from smartbin.errors import SmartbinError, StalledError, drop_stdout

_log = logging.getLogger(__name__)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    """Run the daemon until it ends or `stop` is set; 0 when it was stopped or the recording is over."""

    def read() -> tuple[DeviceConfig, Mapping[str, str]]:
        return load_config_with_origins(options.config, _overrides(options))

    config, origins = read()
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        handlers=[StderrHandler()],
    )
    if options.source is None and config.source.uri == "scene":
        print("no --source given: playing the built-in scene (try --source camera:0)", file=sys.stderr)
    clock = SystemClock()
    notifier = ServiceNotifier.of_environment(clock)
    with ExitStack() as stack:
        if notifier is not None:
            stack.callback(notifier.end)
        reloader = stack.enter_context(Reloader(read, notifier))
        stack.enter_context(reload_on_hangup(reloader.request, stop))
        run_setups(prepare_first(config, origins, reloader.refuse), clock, stop, reloader, notifier)
    return 0


def run_setups(
    setup: Setup, clock: Clock, stop: threading.Event, reloader: Reloader, notifier: ServiceNotifier | None = None
) -> None:
    """Run a setup, and those that the reloader has ready, one after the other, until one ends by itself.

    One that fails before its first frame makes way for the one before it; any other failure is raised.
    """
    before: Setup | None = None
    memory = PageMemory(clock.now_s)
    while True:
        ended = run_daemon(setup, clock, LinkedStop(stop), reloader, notifier, memory=memory)
        gc.collect()  # a page and its routes hold each other: a bin that is read again daily would grow
        if ended.failure is not None and ended.frames == 0 and before is not None and not stop.is_set():
            _log.error("the new configuration does not work, back to the one before: %s", ended.failure)
            reloader.refuse(ended.failure)
            setup, before = prepare(before.config, before.origins, bundle=before.bundle), None
            continue
        if ended.failure is not None:
            raise ended.failure
        following = None if stop.is_set() else reloader.take()
        if following is None:
            return
        _log.warning("taken: %s", following.bundle.path)
        before, setup = setup, following


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: what failed, if anything did, and how many frames it had seen."""

    frames: int
    failure: SmartbinError | None = None


def run_daemon(
    setup: Setup,
    clock: Clock,
    stop: threading.Event,
    reloader: Reloader,
    notifier: ServiceNotifier | None = None,
    *,
    memory: PageMemory | None = None,
    opener: Callable[[], Camera] | None = None,
    watching: Sequence[Sink] = (),
    status: BinStatus | None = None,
) -> Ended:
    """One run of a setup, until it ends, fails, or another setup is due. Closes the setup's classifier.

    `memory` is what the page of the run before knew of its visitors. `opener` opens another camera in the source's
    place, `watching` are told, too, and `status` is what the page reads: what benchmarks stage and look at.
    """
    config, source, bundle, classifier = setup.config, setup.source, setup.bundle, setup.classifier
    cv2.setNumThreads(config.runtime.opencv_threads)
    with ExitStack() as stack:
        stack.callback(classifier.close)
        try:
            kept = open_store(config.store, config.samples, live=source.live, clock=clock)
            for sink in kept:
                stack.callback(sink.close)
            told = [notifier] if notifier is not None else []
            status = status or BinStatus(clock)
            opened = open_sinks(config, Console(), clock, live=source.live)
            sinks = SinkGroup([*opened, *kept, *told, status, *watching], reader_gone=stop.set)
            join_fleet(config, lambda: bundle, opened, lambda: queue_counts(kept, sinks), clock, reloader)
            on_progress = notifier.alive if notifier is not None else None
            daemon = assemble(
                config, source, bundle, classifier, sinks, clock, stop, opener,
                on_progress=on_progress, timer=status.timer, reload_due=lambda: reloader.due,
            )  # fmt: skip
            status.watch(
                lambda: daemon.capture_counts, lambda: daemon.without_progress_s, lambda: queue_counts(kept, sinks)
            )
            page: OpenPage | None = None
            if config.page.enabled:
                page = open_page(_page_parts(setup, status, clock, daemon, reloader, memory, keeps=bool(kept)))
                stack.callback(page.close)
            else:
                choose_region(setup, daemon)
        except SmartbinError as error:
            return Ended(0, error)
        failure: SmartbinError | None = None
        try:
            with settled_heap():
                daemon.run()
        except SmartbinError as error:
            failure = error
        if config.sinks.terminal != "off":
            _print_summary(daemon, to_stderr=config.sinks.json_lines == "-")
        if daemon.camera_hangs or (page is not None and not page.close()):
            _end_process(failure or (_hangs() if reloader.due else None))
    return Ended(daemon.summary().frames, failure)


def _page_parts(
    setup: Setup,
    status: BinStatus,
    clock: Clock,
    daemon: Daemon,
    reloader: Reloader,
    memory: PageMemory | None = None,
    *,
    keeps: bool,
) -> PageParts:
    """What the page is made of."""
    config = setup.config
    return PageParts(
        config.device.resolve_name(),
        config,
        setup.origins,
        status,
        setup.bundle,
        partial(test_here, config=config),
        clock,
        choose_region(setup, daemon),
        keeps,
        reloader,
        memory or PageMemory(clock.now_s),
    )


def choose_region(setup: Setup, daemon: Daemon) -> RegionChoice:
    """What the daemon looks at: as configured, or as it was drawn on the page."""
    return RegionChoice(regions_file(), str(setup.source), setup.config.presence.region, daemon.look_at)


def _hangs() -> StalledError:
    """Why the process ends instead of taking another setup: as a failure, so that systemd starts it with that one."""
    return StalledError(
        "the new configuration cannot be taken in this process",
        where="smartbin run",
        found="a thread that does not end, inside the camera's driver or a request to the page",
        fix="let systemd start it anew: it begins with that configuration",
    )


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


def queue_counts(kept: Sequence[StoreSink], sinks: SinkGroup) -> list[QueueCounts]:
    """What waits and what was lost, of all that write or send on threads of their own."""
    found = []
    for sink in kept:
        written = sink.writer.counts
        found.append(
            QueueCounts("store", written.waiting, written.dropped, written.failures, sink.writer.trouble or "")
        )
        if sink.ring is not None:
            no_room, failed = sink.ring.failures
            dropped = written.tasks_dropped + no_room + failed
            found.append(QueueCounts("pictures", 0, dropped, failed, sink.ring.trouble))
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
