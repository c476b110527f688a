"""`/metrics`: what Prometheus reads. Everything is collected when it asks; the main loop does nothing for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from device.events import Lifecycle
from device.status import BUCKETS_MS, BinStatus
from device.web.live import LiveFeed
from device.web.machine_load import read_load
from device.web.model_shelf import ModelShelf
from smartbin import __version__


class BinCollector(Collector):
    """The figures of one bin. `folders` are those whose disks are watched, by what they hold; `refused` says whether a
    setup that was to be taken does not run.
    """

    def __init__(
        self,
        name: str,
        status: BinStatus,
        model: ModelShelf,
        feed: LiveFeed,
        folders: dict[str, str],
        refused: Callable[[], bool],
    ) -> None:
        self._name, self._status, self._model = name, status, model
        self._feed, self._folders, self._refused = feed, folders, refused

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield from self._what_runs()
        yield from self._frames()
        yield from self._decisions()
        yield from self._stages()
        yield from self._queues()
        yield from self._machine()

    def _what_runs(self) -> Iterator[Metric]:
        session, manifest = self._status.session, self._model.running.manifest
        yield InfoMetricFamily(
            "smartbin",
            "What runs",
            {
                "bin": self._name,
                "version": __version__,
                "model": manifest.name,
                "model_version": manifest.version,
                "precision": manifest.precision,
                "runtime": session.runtime if session is not None else "",
                "source": session.source if session is not None else "",
            },
        )
        yield _gauge(
            "smartbin_runtimes_passed_over",
            "Faster runtimes that a GPU of this machine could have; the model's page says why they are not used",
            len(session.passed_over) if session is not None else 0,
        )
        state = GaugeMetricFamily("smartbin_state", "1 for the state that the daemon is in", labels=["state"])
        for name in get_args(Lifecycle):
            state.add_metric([name], float(name == self._status.lifecycle))
        yield state
        yield _gauge(
            "smartbin_reload_refused",
            "1 while the configuration or model that was to be read last does not run; the page says why",
            float(self._refused()),
        )
        yield _gauge("smartbin_uptime_seconds", "Since the daemon started", self._status.uptime_s)
        yield _gauge(
            "smartbin_loop_without_progress_seconds",
            "How long the main loop has not come round",
            self._status.without_progress_s,
        )
        yield _gauge("smartbin_page_viewers", "Live pictures that are being sent", self._feed.viewers)

    def _frames(self) -> Iterator[Metric]:
        status, counts = self._status, self._status.counts
        yield _counter("smartbin_frames_captured", "Frames that the camera gave", counts.captured)
        yield _counter("smartbin_frames_processed", "Frames that went through the pipeline", status.frames)
        dropped = CounterMetricFamily("smartbin_frames_dropped", "Frames that nobody looked at", labels=["reason"])
        dropped.add_metric(["overwritten"], counts.overwritten)
        dropped.add_metric(["too_old"], counts.too_old)
        yield dropped
        refused = CounterMetricFamily("smartbin_frames_refused", "Frames that could not be used", labels=["reason"])
        for reason, count in counts.refused:
            refused.add_metric([reason], count)
        yield refused
        yield _counter("smartbin_frames_repeated", "Frames that came again unchanged", counts.repeated)
        yield _counter("smartbin_camera_reconnects", "Times that a lost camera was opened again", counts.reconnects)
        yield _gauge("smartbin_frame_age_seconds", "Since the newest frame went through", status.without_frame_s)
        view = status.view
        if view is not None:
            yield _gauge("smartbin_luma", "Mean luma of the newest frame, 0 to 1", view.exposure.mean_luma)
            yield _gauge("smartbin_gamma", "Gamma that it was corrected with; 1: none", view.exposure.gamma)
            yield _gauge("smartbin_clipped_ratio", "Part of it that is blown out", view.exposure.clipped_fraction)
            yield _gauge("smartbin_frames_per_second", "Frames that go through the pipeline", view.fps)

    def _decisions(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "smartbin_decisions", "Decisions by kind, accepted ones by class", labels=["kind", "label"]
        )
        for (kind, label), count in self._status.decisions.copy().items():
            decisions.add_metric([kind, label], count)
        yield decisions
        if (share := self._status.uncertain_share) is not None:
            yield _gauge("smartbin_uncertain_ratio", "Uncertain part of the newest hundred decisions", share)

    def _stages(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "smartbin_stage_duration_seconds", "How long each stage of a frame takes", labels=["stage"]
        )
        for name, histogram in self._status.timer.histograms.copy().items():
            family.add_metric([name], *_cumulated(list(histogram.counts), histogram.total_ms))
        yield family

    def _queues(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("smartbin_queue_depth", "What waits to be written or sent", labels=["queue"])
        dropped = CounterMetricFamily("smartbin_queue_dropped", "What was lost for want of room", labels=["queue"])
        failures = CounterMetricFamily("smartbin_queue_failures", "Tries that failed", labels=["queue"])
        for queue in self._status.queues:
            depth.add_metric([queue.name], queue.waiting)
            dropped.add_metric([queue.name], queue.dropped)
            failures.add_metric([queue.name], queue.failures)
        yield from (depth, dropped, failures)
        failing = GaugeMetricFamily("smartbin_queue_failing", "1 while what empties it fails", labels=["queue"])
        for queue in self._status.queues:
            failing.add_metric([queue.name], float(bool(queue.failing)))
        yield failing

    def _machine(self) -> Iterator[Metric]:
        load = read_load(self._folders)
        heat = GaugeMetricFamily("smartbin_temperature_celsius", "By the machine's sensors", labels=["sensor"])
        for reading in load.temperatures:
            heat.add_metric([reading.sensor], reading.celsius)
        free = GaugeMetricFamily("smartbin_disk_free_bytes", "Free disk where something is kept", labels=["holds"])
        size = GaugeMetricFamily("smartbin_disk_size_bytes", "Size of that disk", labels=["holds"])
        for disk in load.disks:
            free.add_metric([disk.holds], disk.free_bytes)
            size.add_metric([disk.holds], disk.size_bytes)
        yield from (heat, free, size)
        yield _gauge("smartbin_memory_available_bytes", "Memory that is still to be had", load.memory_available_bytes)
        yield _gauge("smartbin_memory_size_bytes", "Memory of the machine", load.memory_bytes)


def make_registry(
    name: str,
    status: BinStatus,
    model: ModelShelf,
    feed: LiveFeed,
    folders: dict[str, str],
    refused: Callable[[], bool],
) -> CollectorRegistry:
    """A registry of this bin's own, with its process beside it."""
    registry = CollectorRegistry()
    registry.register(BinCollector(name, status, model, feed, folders, refused))
    ProcessCollector(registry=registry)
    return registry


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value=value)


def _counter(name: str, told: str, value: float) -> Metric:
    return CounterMetricFamily(name, told, value=value)


def _cumulated(counts: list[int], total_ms: float) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus wants them, each with all below it, and the sum in seconds."""
    total, buckets = 0, []
    for limit, count in zip([*(str(limit / 1000) for limit in BUCKETS_MS), "+Inf"], counts, strict=True):
        total += count
        buckets.append((limit, float(total)))
    return buckets, total_ms / 1000
